"""A pickle that tells when somebody unpickles it: it makes a file."""

from __future__ import annotations

import pickle
from pathlib import Path


class Canary:
    """`alive` until one of its pickles is unpickled, in whatever process."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "unpickled"
        self.pickled = pickle.dumps(_Touch(str(self._file)))
        pickle.loads(self.pickled)
        assert self._file.exists(), "it sings"
        self._file.unlink()

    @property
    def alive(self) -> bool:
        return not self._file.exists()


class _Touch:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path(self.path).touch, ()
