"""gRPC: `grpc://host:50051`, served by `manifold hub grpc://host:50051`.

A connection is one call of one method, a stream in both directions: requests and answers are MessagePack, without
generated code. Both sides ping each other, so that a network which is cut, or a process which is stopped, is noticed
after ten seconds. What waits rests in the hub's memory: when it dies, that is lost, and sent again.
`grpc://:PASSWORD@host` has a password of its own; without, it is derived of MANIFOLD_SECRET. `?tls=true` and `tls_ca`,
`tls_cert`, `tls_key` speak TLS, by gRPC's own means.

Install: pip install "airflow-manifold[grpc]". Limits: one hub, on one host, and 1,000 workers and coordinators at it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ClassVar

import grpc
import msgspec

from manifold.abc import Place
from manifold.abc.transport import PART
from manifold.engines._remote.access import AccessDenied, Ask, Gate, client_tls, password, server_tls
from manifold.engines._remote.engine import RemoteEngine
from manifold.engines._remote.mailboxes import HubTransport, Mailboxes

_SERVICE, _METHOD = "manifold.Hub", "Connect"
_CONNECTIONS = 2_000  # each has a thread; a worker or a coordinator makes two
_BOTH = {
    "grpc.max_receive_message_length": PART + 64 * 1024,
    "grpc.keepalive_time_ms": 5_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.http2.ping_timeout_ms": 5_000,  # a process that is stopped; by itself it waits for a minute
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.http2.max_pings_without_data": 0,
}
_CLIENT = _BOTH | {
    "grpc.enable_http_proxy": 0,
    "grpc.min_reconnect_backoff_ms": 5_000,  # how long it tries to connect
    "grpc.use_local_subchannel_pool": 1,  # a connection of its own
}
_HUB = _BOTH | {
    "grpc.http2.min_ping_interval_without_data_ms": 1_000,  # or it would take the pings for an attack
    "grpc.so_reuseport": 0,  # or a second hub at the port would take half of the connections
}
_encode, _decode = msgspec.msgpack.encode, msgspec.msgpack.decode


class GrpcTransport(HubTransport):
    """One request at a time over one stream."""

    tls: ClassVar[bool] = True

    def dial(self, place: Place) -> Ask:
        self._requests: SimpleQueue[bytes | None] = SimpleQueue()
        credentials = _channel_credentials(place)
        if credentials is None:
            self._channel = grpc.insecure_channel(place.address, [*_CLIENT.items()])
        else:
            self._channel = grpc.secure_channel(place.address, credentials, [*_CLIENT.items()])
        self._answers = self._channel.stream_stream(f"/{_SERVICE}/{_METHOD}")(iter(self._requests.get, None))
        return self._request

    def hang_up(self) -> None:
        self._requests.put(None)
        self._channel.close()

    def _request(self, *request: Any) -> Any:
        self._requests.put(_encode(request))
        try:
            answer = next(self._answers, None)
        except grpc.RpcError as exc:
            raise EOFError(f"{exc.code().name}: {exc.details()}") from exc
        if answer is None:
            raise EOFError("the hub has ended the stream")
        return _decode(answer)

    @classmethod
    def serve(cls, place: Place) -> None:
        mailboxes, secret = Mailboxes(), password(place)

        def talk(requests: Iterable[bytes], context: Any) -> Iterator[bytes]:
            gate = Gate(mailboxes.ask, secret)
            try:
                for request in requests:
                    yield _encode(gate.ask(*_decode(request)))
            except AccessDenied as exc:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, str(exc))
            except (LookupError, TypeError, ValueError, RecursionError, msgspec.MsgspecError) as exc:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(exc))

        handlers = {_METHOD: grpc.stream_stream_rpc_method_handler(talk)}
        server = grpc.server(
            ThreadPoolExecutor(_CONNECTIONS),
            handlers=[grpc.method_handlers_generic_handler(_SERVICE, handlers)],
            options=[*_HUB.items()],
            maximum_concurrent_rpcs=_CONNECTIONS,  # one more is refused, and does not wait for a thread
        )
        _listen(server, place)
        server.start()
        server.wait_for_termination()


def _listen(server: Any, place: Place) -> None:
    credentials = _server_credentials(place)
    try:
        if credentials is None:
            server.add_insecure_port(place.address)
        else:
            server.add_secure_port(place.address, credentials)
    except RuntimeError as exc:
        raise OSError(f"cannot listen there; is the port taken? {exc}") from exc


def _channel_credentials(place: Place) -> Any:
    """None where the URL does not ask for TLS. gRPC takes texts: the context has checked the files, and knows whom the
    system trusts."""
    if (context := client_tls(place)) is None:
        return None
    system = "".join(map(ssl.DER_cert_to_PEM_cert, context.get_ca_certs(binary_form=True))).encode()
    return grpc.ssl_channel_credentials(_pem(place, "tls_ca") or system or None, *_own(place))


def _server_credentials(place: Place) -> Any:
    if server_tls(place) is None:
        return None
    authorities = _pem(place, "tls_ca")
    return grpc.ssl_server_credentials([_own(place)], authorities, require_client_auth=authorities is not None)


def _own(place: Place) -> tuple[bytes | None, bytes | None]:
    """The key and the certificate of this side; the key may stand in the file of the certificate."""
    return _pem(place, "tls_key") or _pem(place, "tls_cert"), _pem(place, "tls_cert")


def _pem(place: Place, option: str) -> bytes | None:
    return Path(place.options[option]).read_bytes() if option in place.options else None


class GrpcEngine(RemoteEngine):
    """Workers that reach the same hub."""

    transport = GrpcTransport
