"""Calls and results on a worker's socket.

A frame is `kind, call, length, length, mark | mark | pickle | blob`. A call's first argument of type bytes, and a
result of type bytes, travel as the blob: they are neither pickled nor copied into a pickle.

The first mark is a MAC (keyed BLAKE2b, RFC 7693) of the pickle, the second one of what stands before it. The key is
made for the one socket, and is the first that the coordinator sends over it. So what a worker's code writes there by
mistake, or on purpose, is neither unpickled nor taken for a length. The blob has no mark: nobody here looks into it,
and a scatter's is sealed.
"""

from __future__ import annotations

import pickle
import secrets
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from enum import IntEnum
from hashlib import blake2b
from hmac import compare_digest
from io import BufferedReader
from itertools import islice
from typing import Any, NamedTuple

import cloudpickle

from manifold.engines.payload import dump_value
from manifold.errors import WireError

_FIELDS = struct.Struct("<BQQQ16s")
_MARK = 16  # bytes
_HEAD = _FIELDS.size + _MARK
KEY = 32
"""Bytes of a socket's key."""
_PIECES = 16  # buffers handed to the kernel at once


class Kind(IntEnum):
    """What a frame says. To a worker: run this; give it back unless it has begun. From one: the rest."""

    CALL = 1
    RECALL = 2
    RETURNED = 3
    RESULT = 4
    ERROR = 5


class Frame(NamedTuple):
    """One message about the call of that number."""

    kind: int
    call: int
    pickled: bytes = b""
    blob: bytes = b""

    def parts(self, key: bytes) -> list[bytes]:
        mark = _mark(key, self.pickled)
        fields = _FIELDS.pack(self.kind, self.call, len(self.pickled), len(self.blob), mark)
        head = fields + _mark(key, fields)
        return [head + self.pickled, self.blob] if self.blob else [head + self.pickled]


def pack_call(call: int, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Frame:
    """A call as a frame. Raises what pickling raises."""
    at = next((index for index, value in enumerate(args) if type(value) is bytes), None)
    blob = b"" if at is None else args[at]
    rest = args if at is None else (*args[:at], None, *args[at + 1 :])
    return Frame(Kind.CALL, call, cloudpickle.dumps((fn, rest, kwargs, at)), blob)


def unpack_call(frame: Frame) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
    """Function and arguments of a call. Raises what unpickling raises."""
    fn, rest, kwargs, at = pickle.loads(frame.pickled)  # nosec B301 # its mark was right
    args = list(rest)
    if at is not None:
        args[at] = frame.blob
    return fn, args, kwargs


def pack_result(call: int, value: Any) -> Frame:
    """A result as a frame. Raises Unpicklable."""
    if type(value) is bytes:
        return Frame(Kind.RESULT, call, blob=value)
    return Frame(Kind.RESULT, call, dump_value(value))


def unpack_result(frame: Frame) -> Any:
    """The value of a RESULT. Raises what unpickling raises."""
    return pickle.loads(frame.pickled) if frame.pickled else frame.blob  # nosec B301 # its mark was right


def read_frames(stream: BufferedReader, key: bytes) -> Iterator[Frame]:
    """Frames out of a stream that blocks, until it ends; raises WireError for bytes that are none."""
    while len(head := stream.read(_HEAD)) == _HEAD:
        kind, call, n_pickled, n_blob, mark = _checked(key, head)
        pickled, blob = stream.read(n_pickled), stream.read(n_blob)
        if len(pickled) + len(blob) < n_pickled + n_blob:
            return
        _check(key, pickled, mark)
        yield Frame(kind, call, pickled, blob)


class Link:
    """The coordinator's end of a worker's socket. Never blocks."""

    _ANSWERS = frozenset({Kind.RETURNED, Kind.RESULT, Kind.ERROR})

    def __init__(self, sock: socket.socket, key: bytes = b"") -> None:
        sock.setblocking(False)
        self._sock = sock
        self._key = key or secrets.token_bytes(KEY)
        self._out: deque[memoryview] = deque([memoryview(self._key)])
        self._head: tuple[int, int, int, int, bytes] | None = None
        self._want = bytearray(_HEAD)
        self._got = 0
        self._broken = False

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    def send(self, frame: Frame) -> bool:
        """Send what the socket takes now; False if `flush` must send the rest."""
        self._out.extend(map(memoryview, frame.parts(self._key)))
        return self.flush()

    def flush(self) -> bool:
        """Send on; True once nothing is left."""
        try:
            while self._out:
                sent = self._sock.sendmsg(list(islice(self._out, _PIECES)))
                while self._out and sent >= len(self._out[0]):
                    sent -= len(self._out.popleft())
                if sent:
                    self._out[0] = self._out[0][sent:]
        except BlockingIOError:
            return False
        except OSError:
            self._out.clear()  # it is dead; the fork server will say so
        return True

    def received(self) -> Iterator[Frame]:
        """The frames that are complete.

        Raises EOFError after the last one of a worker that is gone, and WireError, once, where something else than an
        answer came: what follows could not be told apart any more.
        """
        while not self._broken:
            while self._got < len(self._want):
                try:
                    n = self._sock.recv_into(memoryview(self._want)[self._got :])
                except BlockingIOError:
                    return
                except OSError:
                    n = 0
                if not n:
                    raise EOFError
                self._got += n
            try:
                frame = self._advance()
            except WireError:
                self._broken = True
                raise
            if frame is not None:
                yield frame
        raise EOFError

    def _advance(self) -> Frame | None:
        """The next step once `_want` is full: from the head to the body, or from the body to a frame."""
        self._got = 0
        if self._head is None:
            self._head = _checked(self._key, bytes(self._want))
            if self._head[0] not in self._ANSWERS:
                raise WireError("what came from a worker is not an answer")
            self._want = bytearray(self._head[2] + self._head[3])
            return None
        kind, call, n_pickled, _, mark = self._head
        body = memoryview(self._want)
        frame = Frame(kind, call, bytes(body[:n_pickled]), bytes(body[n_pickled:]))
        _check(self._key, frame.pickled, mark)
        self._head, self._want = None, bytearray(_HEAD)
        return frame


def _mark(key: bytes, data: bytes) -> bytes:
    return blake2b(data, key=key, digest_size=_MARK).digest()


def _checked(key: bytes, head: bytes) -> tuple[int, int, int, int, bytes]:
    """The fields of a head; raises WireError where its mark is wrong."""
    _check(key, head[: _FIELDS.size], head[_FIELDS.size :])
    kind, call, n_pickled, n_blob, mark = _FIELDS.unpack(head[: _FIELDS.size])
    return kind, call, n_pickled, n_blob, mark


def _check(key: bytes, data: bytes, mark: bytes) -> None:
    if not compare_digest(mark, _mark(key, data)):
        raise WireError("something else than calls and results went over a worker's socket")
