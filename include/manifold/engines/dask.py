"""The workers of a Dask cluster: `dask://host:8786`, or `dask://local?workers=2` for a cluster that ends with us.

`?per_worker=1` is how many calls a worker process runs at once, at most its threads; `?silence=10` are the seconds
without a sign of life after which a worker gets no more; `?balance=`; `?tls_ca=…&tls_cert=…&tls_key=…` speak TLS.

Install: `pip install "airflow-manifold[dask]"`, also for the workers, which need the same MANIFOLD_SECRET. Limits: a
worker without a nanny gets no calls, for nobody could end an item there. What is lost: with a worker process its calls;
with the scheduler all calls that run, which are sent again; with the coordinator, what its calls had done until then.

Each call is pinned to a worker with room: Dask on its own runs a dead worker's tasks again, and those behind them.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from itertools import count
from typing import Any, ClassVar, Self

from distributed import LocalCluster

from manifold import config
from manifold.engines._dask_watch import Watch
from manifold.engines._dask_worker import payload
from manifold.engines._desk import Desk, Sent
from manifold.engines._remote import messages as ms
from manifold.engines._remote.place import Place, dask_url, is_local
from manifold.engines._sealed import open_answer
from manifold.engines.urls import cpus
from manifold.protocol import envelope

_SOON = 0.5  # seconds in which it is known whether a call has begun


class DaskEngine(Desk):
    """Sends calls; `Watch` says what becomes of the workers."""

    same_host: ClassVar[bool] = False
    kills_items: ClassVar[bool] = True

    def __init__(self, place: Place, cluster: LocalCluster | None = None) -> None:
        super().__init__(silent=place.silence, balance_by=place.balance)
        self._place = place
        self._id, self._numbers = uuid.uuid4().hex, count(1)
        self._watch = Watch(self, self._id, place, cluster)
        self._watch.start()

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        place = dask_url(url, **options)
        if not is_local(url):
            return cls(place)
        number = int(place.options.get("workers", cpus()))
        # With TLS of its own, for others of this host reach its ports, and whom Dask lets in has it run code.
        cluster = LocalCluster(n_workers=number, threads_per_worker=1, dashboard_address=":0", security=True)
        try:
            engine = cls(place, cluster)
        except BaseException:
            cluster.close()
            raise
        engine.same_host = True  # type: ignore[misc] # its workers are here
        return engine

    def check(self) -> str | None:
        until = time.monotonic() + 3.0
        while not self.slots():
            if time.monotonic() > until:
                return f"no worker of {self._place} takes calls. {self._watch.why_none()}"
            time.sleep(0.05)
        return None

    @property
    def connected(self) -> bool:  # type: ignore[override]
        return self._watch.connected

    @property
    def refused(self) -> int:  # type: ignore[override]
        return self._watch.refused

    @property
    def refused_by_workers(self) -> int:  # type: ignore[override]
        return self._watch.refused_by_workers

    # What a desk asks of its adapter

    def pack(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        config.keyring()  # raises what is wrong with the secret
        return envelope.dumps_by_value((fn, args, kwargs))

    def hand(self, call: Sent) -> None:
        try:
            life = self._watch.life(call.node)
            message = ms.seal_call(self._id, call.id, life, next(self._numbers), call.message)
            call.handle = self._watch.link.submit(message, call.node)
            self._watch.link.soon(self._settle, call, call.handle)
        except Exception:  # noqa: BLE001 - the connection breaks just now: the call is taken back with all the others
            self._watch.broken = True

    def stop(self, call: Sent) -> None:
        for neighbour in self.held():
            neighbour.excused |= neighbour.node == call.node and neighbour is not call
        self._watch.link.soon(self._stop, call, call.handle)

    def finish(self) -> None:
        self._watch.end()

    # Within

    async def _stop(self, call: Sent, handle: Any) -> None:
        """End the process that runs the call; what only waits there is taken back."""
        if call.worker is None:
            await asyncio.sleep(_SOON)
        if call.worker is None:
            await self._watch.link.forget([handle])
            self.drop(call.id, "the call was given up before it began")
        else:
            await self._watch.link.restart(call.node)

    async def _settle(self, call: Sent, handle: Any) -> None:
        try:
            ok, value = open_answer(payload(await handle, self._id, call.id))
        except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001 - Dask has given it up, or the worker has
            if call.handle is handle:
                call.excused = True
                self.drop(call.id, f"{call.node} did not run the call: {exc}")
            return
        self.settle(call.id, ok, lambda: value)
