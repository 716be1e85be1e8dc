"""A part of some results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, overload

from manifold.errors import ConfigError

if TYPE_CHECKING:
    from manifold.results.results import Results


class ResultsSlice(Sequence[Any]):
    """A part of some results: as lazy, as pinned, and as light in XCom as they are."""

    __version__: ClassVar[int] = 1

    def __init__(self, results: Results, indexes: range) -> None:
        self._results = results
        self._indexes = indexes

    def __repr__(self) -> str:
        return f"<{len(self):,} of {self._results!r}>"

    def __len__(self) -> int:
        return len(self._indexes)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> ResultsSlice: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return ResultsSlice(self._results, self._indexes[index])
        try:
            at = self._indexes[index]
        except IndexError:
            raise IndexError(f"there is no result {index:,} in {self!r}") from None
        return self._results[at]

    def __iter__(self) -> Iterator[Any]:
        if self._indexes.step != 1:
            return (self._results[at] for at in self._indexes)
        return islice(self._results._walk.values(self._indexes.start), len(self._indexes))

    @property
    def identity(self) -> str:
        """What tells these values from others, without reading them."""
        of = self._indexes
        return f"results:{self._results.uid}:{self._results.as_of}:{of.start}:{len(of)}:{of.step}"

    def serialize(self) -> dict[str, Any]:
        """What XCom keeps: the handle of the results, and which of them."""
        of = self._indexes
        return {"results": self._results.serialize(), "start": of.start, "stop": of.stop, "step": of.step}

    @staticmethod
    def deserialize(data: dict[str, Any], version: int) -> ResultsSlice:
        """The part again; raises ConfigError where a later version wrote it."""
        from manifold.results.results import Results

        if version > ResultsSlice.__version__:
            raise ConfigError(
                f"this part of results is of version {version}; this Manifold reads up to {ResultsSlice.__version__}"
            )
        results = Results.deserialize(data["results"], Results.__version__)
        return ResultsSlice(results, range(data["start"], data["stop"], data["step"]))

    def __reduce__(self) -> tuple[Any, ...]:
        return ResultsSlice.deserialize, (self.serialize(), self.__version__)
