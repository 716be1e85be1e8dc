"""One row for each transport: how its middle (a hub, a broker) is had in a test. Other tests are made of these rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_urlsafe

from manifold.demo.process import free_port
from manifold.demo.server import LOOPBACK
from tests.remote.fleet import Fleet
from tests.servers import CuttableRedis, RabbitServer

Middle = Callable[[Path, str], Fleet]
"""Makes a fleet whose middle is at that address, with a folder of its own; nothing is started before `start_hub`."""


def hub(scheme: str) -> Middle:
    """A `manifold hub`, which is all that such a transport needs."""
    return lambda folder, address: Fleet(f"{scheme}://{address}:{free_port()}", folder)


def manager(folder: Path, address: str) -> Fleet:
    """A hub with a key of its own, as people give it one."""
    return Fleet(f"manager://:{token_urlsafe(32)}@{address}:{free_port()}", folder)


def rabbitmq(folder: Path, address: str) -> Fleet:
    server = RabbitServer(folder / "rabbitmq", address)
    return Fleet(server.url(), folder, server=server)


def redis(folder: Path, address: str) -> Fleet:
    server = CuttableRedis(folder / "redis", password=token_urlsafe(32), address=address)
    return Fleet(server.url(), folder, server=server)


MIDDLES: dict[str, Middle] = {
    "amqp": rabbitmq,
    "grpc": hub("grpc"),
    "manager": manager,
    "pyro": hub("pyro"),
    "redis": redis,
    "rpyc": hub("rpyc"),
    "tcp": hub("tcp"),
    "zeromq": hub("zeromq"),
}
"""By scheme."""


@contextmanager
def fleet(scheme: str, folder: Path, *, workers: int = 2) -> Iterator[Fleet]:
    """A middle and workers of one slot each, which serve."""
    made = MIDDLES[scheme](folder, LOOPBACK)
    try:
        made.start_hub()
        for _ in range(workers):
            made.worker()
        made.engine(workers).shutdown()
        yield made
    finally:
        made.close()
