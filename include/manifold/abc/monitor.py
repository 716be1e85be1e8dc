"""Who is told what happens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from manifold.events import Event


class Monitor(ABC):
    """Is told what happens. Called in the coordinator's thread, so it must be quick; what it raises is logged once."""

    warns: ClassVar[bool] = False
    """Puts warnings where people find them afterwards; without such a monitor plain Python logs them."""

    @abstractmethod
    def emit(self, event: Event) -> None: ...

    def close(self) -> None:
        return
