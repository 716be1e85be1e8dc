"""Redis, or Valkey: `redis://:PASSWORD@host:6379/0`. A list for each mailbox, a set for each group, and no hub.

`redis://USER:PASSWORD@…` logs in as a user of an access list; the path is the number of the database. `?tls=true` and
`tls_ca`, `tls_cert`, `tls_key` speak TLS. What waits rests in the server's memory: when it dies, that is lost, and sent
again. A mailbox holds 64 MiB; what it or the server has no room for is sent again later.

Install: pip install "airflow-manifold[redis]". Limits: one server of Redis 6 or newer (or Valkey), not a cluster.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from manifold.abc import MailboxFull, Place, Transport, TransportError
from manifold.abc.transport import KEPT
from manifold.engines._remote.access import client_tls
from manifold.engines._remote.engine import RemoteEngine
from manifold.engines._remote.mailboxes import MOST
from manifold.errors import ConfigError

_TIMEOUT = 5.0
_REFRESH = KEPT / 10  # seconds after which a mailbox that nothing comes into is said to be in use
_FULL, _SENT, _CLOSED = range(3)
_SEND = f"""
local size = tonumber(redis.call('GET', KEYS[2]))
if not size then return {_CLOSED} end
if redis.call('LLEN', KEYS[1]) == 0 then size = 0 end
if size > 0 and size + #ARGV[1] > tonumber(ARGV[2]) then return {_FULL} end
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('SET', KEYS[2], size + #ARGV[1], 'KEEPTTL')
return {_SENT}
"""
"""Append to a mailbox that is open and has room. Its size counts from 0 whenever it is empty: no wrong count stays."""


class RedisTransport(Transport):
    """The key `MAILBOX:size` says that a mailbox is open, and expires with it."""

    tls: ClassVar[bool] = True

    def __init__(self, client: redis.Redis, place: Place) -> None:
        self._redis: Any = client
        self._place = place
        self._mailbox = self._group = ""
        self._read, self._refreshed = 0, 0.0  # bytes that are not yet subtracted from the mailbox's size

    @classmethod
    def connect(cls, place: Place) -> Self:
        if not (database := place.path or "0").isdecimal():
            raise ConfigError(f"the path of {place} must be the number of a database; write redis://:PASSWORD@host/0")
        client = redis.Redis(
            place.host,
            place.port,
            int(database),
            username=place.user or None,
            password=place.password or None,
            socket_connect_timeout=_TIMEOUT,
            socket_timeout=_TIMEOUT,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), 0),  # a new instance is made instead
            ssl=client_tls(place) is not None,  # of the same files, it makes a context of its own
            ssl_ca_certs=place.options.get("tls_ca"),
            ssl_certfile=place.options.get("tls_cert"),
            ssl_keyfile=place.options.get("tls_key"),
            ssl_min_version=ssl.TLSVersion.TLSv1_2,
        )
        made = cls(client, place)
        with made._translated():
            client.ping()
        return made

    def open(self, mailbox: str, group: str) -> None:
        self._mailbox, self._group = mailbox, group
        with self._translated():
            self._in_use(self._redis.pipeline(transaction=False)).execute()

    def send(self, to: str, data: bytes, *, everyone: bool = False) -> None:
        with self._translated():
            if everyone:
                self._send_to_all(to, data)
            elif _push(self._redis, to, data) == _FULL:
                raise MailboxFull(to)

    def receive(self, timeout: float) -> bytes | None:
        with self._translated():
            pipe = self._redis.pipeline(transaction=False)
            if self._read or time.monotonic() > self._refreshed + _REFRESH:
                self._in_use(pipe)
            pipe.blpop([self._mailbox], max(0.01, min(timeout, _TIMEOUT / 2)))  # 0 would be for ever
            _, data = pipe.execute()[-1] or (None, None)
            self._read = len(data or b"")
            return data

    def close(self) -> None:
        with suppress(Exception):
            if self._mailbox:
                self._redis.srem(self._group, self._mailbox)
                self._redis.delete(self._mailbox, _size(self._mailbox))
        with suppress(Exception):
            self._redis.close()

    def _send_to_all(self, group: str, data: bytes) -> None:
        # Those that are full are left out: what goes to all is said again soon.
        pipe = self._redis.pipeline(transaction=False)
        for name in (names := [name.decode() for name in self._redis.smembers(group)]):
            _push(pipe, name, data)
        if closed := [name for name, result in zip(names, pipe.execute(), strict=True) if result == _CLOSED]:
            self._redis.srem(group, *closed)

    def _in_use(self, pipe: Any) -> Any:
        """Subtract what was read from the mailbox's size, or make the key of that; none of the keys expires soon."""
        pipe.decrby(_size(self._mailbox), self._read).expire(_size(self._mailbox), int(KEPT))
        pipe.expire(self._mailbox, int(KEPT))
        pipe.sadd(self._group, self._mailbox).expire(self._group, int(2 * KEPT))
        self._read, self._refreshed = 0, time.monotonic()
        return pipe

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except redis.AuthenticationError as exc:
            raise TransportError(f"{exc}: check user and password in the URL, redis://USER:PASSWORD@host") from exc
        except (redis.RedisError, OSError) as exc:
            if "OOM" in str(exc):  # within a script it has no class of its own
                raise MailboxFull(f"{self._place} has reached its maxmemory") from exc
            raise TransportError(f"{type(exc).__name__}: {exc}") from exc


def _push(client: Any, to: str, data: bytes) -> Any:
    return client.eval(_SEND, 2, to, _size(to), data, MOST, int(KEPT))


def _size(mailbox: str) -> str:
    return f"{mailbox}:size"


class RedisEngine(RemoteEngine):
    """Workers that reach the same Redis."""

    transport = RedisTransport
