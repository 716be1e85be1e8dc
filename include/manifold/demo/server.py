"""What PostgreSQL and Redis have in common here: one process, a folder, a port, a password."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from manifold.demo.process import Child, StartError, free_port, wait_until
from manifold.demo.secrets import kept_password

LOOPBACK = "127.0.0.1"


class Server(ABC):
    """A server that keeps its files in `data`; a context manager that starts and stops it.

    Unless given, `port` is a free one, `password` generated and kept in `data.password` (mode 600), `log` is
    `data.log`, and `records`, the folder of process records, `data.records`. It listens on `address` alone.
    """

    name: str
    patience: float = 30.0
    """Seconds in which it is ready."""

    def __init__(
        self,
        data: Path,
        port: int | None = None,
        log: Path | None = None,
        *,
        password: str = "",
        records: Path | None = None,
        address: str = LOOPBACK,
    ) -> None:
        self.address = address
        self.data = data.absolute()
        self.log = log or self.data.with_name(f"{self.data.name}.log")
        self.records = records or self.data.with_name(f"{self.data.name}.records")
        self.port = port or free_port()
        self.password = password
        self._child: Child | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def child(self) -> Child:
        """The running process; raises StartError where there is none."""
        if self._child is None:
            raise StartError(f"{self.name} is not running: call start() first")
        return self._child

    def start(self) -> None:
        """Start the server and return once it answers."""
        self.password = self.password or kept_password(self.data.with_name(f"{self.data.name}.password"))
        self._child = self._launch()
        try:
            wait_until(self._answers, self._child, self.patience)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server; what it keeps stays."""
        if self._child:
            self._child.stop()
            self._child = None

    @abstractmethod
    def _launch(self) -> Child:
        """Prepare its files and start the process; does not wait."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether a client got an answer."""
