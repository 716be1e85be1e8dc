"""A coordinator's connection to a Dask scheduler, which is made anew where it broke or the scheduler was restarted."""

from __future__ import annotations

import logging
import uuid
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from distributed import Client, Future, LocalCluster, Security

from manifold.engines import _dask_worker as at_worker
from manifold.engines._remote.place import Place
from manifold.errors import EngineError

_PATIENCE = 5.0  # seconds in which a scheduler answers
_OPENING = "10s"

log = logging.getLogger(__name__)


class LinkBroken(OSError):
    """The connection is over, and with it all that was submitted over it."""


class Link:
    """For the thread that looks at the cluster; `submit` for any.

    Args:
        place: where the scheduler is; of no meaning with a `cluster` of our own.
        handlers: what to do with the events of each topic.
    """

    def __init__(
        self, place: Place, cluster: LocalCluster | None, handlers: Mapping[str, Callable[[Any], None]]
    ) -> None:
        self._place, self._cluster, self._handlers = place, cluster, handlers
        # A call is one argument of many bytes, and there is no better way for it.
        warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
        self.client, self._scheduler = self._opened(_OPENING)

    @property
    def address(self) -> str:
        """The scheduler's, as Dask writes it."""
        if self._cluster is not None:
            return str(self._cluster.scheduler_address)
        return f"{'tls' if 'tls_ca' in self._place.options else 'tcp'}://{self._place.address}"

    def submit(self, message: bytes, node: str) -> Future:
        """Have that worker, and no other, run a sealed call once."""
        key = f"manifold-{uuid.uuid4().hex}"
        return self.client.submit(
            at_worker.run, message, key=key, workers=[node], allow_other_workers=False, retries=0, pure=False
        )

    def workers(self) -> dict[str, Any]:
        """Return what the scheduler knows of its workers, by address; raises OSError where it does not answer,
        LinkBroken where it never will."""
        if self.client.status != "running":
            raise LinkBroken(f"the connection to {self._place} is over")
        found = self.client.sync(self.client.scheduler.identity, n_workers=-1, callback_timeout=_PATIENCE)
        if found["id"] != self._scheduler:
            raise LinkBroken(f"the scheduler at {self._place} was started again")
        workers: dict[str, Any] = found["workers"]
        return workers

    def open_again(self) -> None:
        """Make the connection anew; raises EngineError while nothing answers."""
        with suppress(Exception):
            self.client.close(timeout=1)
        self.client, self._scheduler = self._opened("2s")

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Have the thread of the connection run a function, or a coroutine function."""
        self.client.loop.add_callback(function, *args)

    async def forget(self, futures: list[Future]) -> None:
        """Have the scheduler drop what no worker will ever run."""
        with suppress(Exception):
            await self.client.cancel(futures, asynchronous=True)

    async def restart(self, node: str) -> None:
        """Have the nanny of a worker end its process and start another one."""
        with suppress(Exception):
            await self.client.scheduler.restart_workers(
                workers=[node], wait_for_workers=False, on_error="return", stimulus_id=f"manifold-{uuid.uuid4().hex}"
            )

    def close(self) -> None:
        with suppress(Exception):
            for topic in self._handlers:  # for the end of this client would be told to it, and be a fault in their log
                self.client.unsubscribe_topic(topic)
            self.client.close()
        if self._cluster is not None:
            self._cluster.close()

    def _opened(self, patience: str) -> tuple[Client, str]:
        options = self._place.options
        tls = {"tls_ca_file": "tls_ca", "tls_client_cert": "tls_cert", "tls_client_key": "tls_key"}
        given = {name: options[option] for name, option in tls.items() if option in options}
        security = None if self._cluster is not None or not given else Security(require_encryption=True, **given)
        try:
            client = Client(self._cluster or self.address, timeout=patience, security=security, set_as_default=False)
        except (OSError, ValueError) as exc:
            start = f"dask scheduler --port {self._place.port}"
            raise EngineError(f"no Dask scheduler answers at {self._place}: {exc}. Start one: {start}") from exc
        for topic, handler in self._handlers.items():
            client.subscribe_topic(topic, handler)
        try:
            client.register_plugin(at_worker.ManifoldPlugin())
        except Exception as exc:  # noqa: BLE001 - whatever a worker raised; others may have loaded it
            log.warning("a worker of %s cannot load Manifold: %s: %s", self._place, type(exc).__name__, exc)
        return client, client.sync(client.scheduler.identity, n_workers=0, callback_timeout=_PATIENCE)["id"]
