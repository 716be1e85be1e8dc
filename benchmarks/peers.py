"""What a person would write over the same library without Manifold: chunks to four processes, and back."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.managers import BaseManager
from queue import Queue
from typing import Any

from benchmarks.work import noop
from manifold.demo.process import free_port

PROCESSES = 4
HOST = "127.0.0.1"
KEY = b"benchmark"

Chunk = tuple[int, int]
Run = Callable[[list[Chunk]], list[list[int]]]
"""Sends the chunks, and returns their results."""
Peer = Callable[[str], AbstractContextManager[Run]]
"""Made of the engine's URL, for those who use the same server."""


def many(chunk: Chunk) -> list[int]:
    """The items of one chunk."""
    return [noop(x) for x in range(*chunk)]


@contextmanager
def _processes(worker: Callable[..., None], *each: tuple[Any, ...]) -> Iterator[None]:
    """Four processes, which are killed at the end."""
    context = multiprocessing.get_context("spawn")
    started = [context.Process(target=worker, args=args, daemon=True) for args in each]
    for process in started:
        process.start()
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.join()


# -- ZeroMQ: PUSH and PULL, both ways


@contextmanager
def zeromq(_url: str) -> Iterator[Run]:
    import zmq

    context = zmq.Context()
    work, back = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    ports = work.bind_to_random_port(f"tcp://{HOST}"), back.bind_to_random_port(f"tcp://{HOST}")

    def run(chunks: list[Chunk]) -> list[list[int]]:
        for chunk in chunks:
            work.send(pickle.dumps(chunk))
        return [pickle.loads(back.recv()) for _ in chunks]

    with _processes(_zeromq_worker, *[ports] * PROCESSES):
        yield run
    context.destroy(0)


def _zeromq_worker(work_port: int, back_port: int) -> None:
    import zmq

    context = zmq.Context()
    work, back = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    work.connect(f"tcp://{HOST}:{work_port}")
    back.connect(f"tcp://{HOST}:{back_port}")
    while True:
        back.send(pickle.dumps(many(pickle.loads(work.recv()))))


# -- gRPC: each process is a server


@contextmanager
def grpc(_url: str) -> Iterator[Run]:
    import grpc as library

    ports = [free_port() for _ in range(PROCESSES)]
    channels = [library.insecure_channel(f"{HOST}:{port}") for port in ports]
    calls = [channel.unary_unary("/peer/many") for channel in channels]

    def run(chunks: list[Chunk]) -> list[list[int]]:
        sent = [
            calls[number % PROCESSES].future(pickle.dumps(chunk), wait_for_ready=True)
            for number, chunk in enumerate(chunks)
        ]
        return [pickle.loads(one.result()) for one in sent]

    with _processes(_grpc_worker, *[(port,) for port in ports]):
        yield run
    for channel in channels:
        channel.close()


def _grpc_worker(port: int) -> None:
    import grpc as library

    def answer(request: bytes, _context: Any) -> bytes:
        return pickle.dumps(many(pickle.loads(request)))

    server = library.server(ThreadPoolExecutor(1))
    handlers = {"many": library.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers([library.method_handlers_generic_handler("peer", handlers)])
    server.add_insecure_port(f"{HOST}:{port}")
    server.start()
    server.wait_for_termination()


# -- BaseManager: two queues


@contextmanager
def manager(_url: str) -> Iterator[Run]:
    work: Queue[Chunk] = Queue()
    back: Queue[list[int]] = Queue()

    class Queues(BaseManager):
        pass

    Queues.register("work", callable=lambda: work)
    Queues.register("back", callable=lambda: back)
    server = Queues((HOST, 0), KEY).get_server()
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def run(chunks: list[Chunk]) -> list[list[int]]:
        for chunk in chunks:
            work.put(chunk)
        return [back.get() for _ in chunks]

    with _processes(_manager_worker, *[(server.address,)] * PROCESSES):
        yield run


def _manager_worker(address: tuple[str, int]) -> None:
    class Queues(BaseManager):
        pass

    Queues.register("work")
    Queues.register("back")
    queues = Queues(address, KEY)
    queues.connect()
    work, back = queues.work(), queues.back()  # type: ignore[attr-defined]  # made by register
    while True:
        back.put(many(work.get()))


# -- Redis: two lists


@contextmanager
def redis(url: str) -> Iterator[Run]:
    from redis import Redis

    client = Redis.from_url(url, socket_timeout=None)

    def run(chunks: list[Chunk]) -> list[list[int]]:
        client.rpush("work", *[pickle.dumps(chunk) for chunk in chunks])
        return [pickle.loads(client.blpop("back")[1]) for _ in chunks]

    with _processes(_redis_worker, *[(url,)] * PROCESSES):
        yield run


def _redis_worker(url: str) -> None:
    from redis import Redis

    client = Redis.from_url(url, socket_timeout=None)
    while True:
        client.rpush("back", pickle.dumps(many(pickle.loads(client.blpop("work")[1]))))


# -- RabbitMQ: two queues


@contextmanager
def amqp(url: str) -> Iterator[Run]:
    channel = _channel(url)

    def run(chunks: list[Chunk]) -> list[list[int]]:
        for chunk in chunks:
            channel.basic_publish("", "work", pickle.dumps(chunk))
        return [
            pickle.loads(body) for _, (_, _, body) in zip(chunks, channel.consume("back", auto_ack=True), strict=False)
        ]

    with _processes(_amqp_worker, *[(url,)] * PROCESSES):
        yield run
    channel.connection.close()


def _amqp_worker(url: str) -> None:
    channel = _channel(url)
    channel.basic_qos(prefetch_count=1)
    for method, _, body in channel.consume("work"):
        channel.basic_publish("", "back", pickle.dumps(many(pickle.loads(body))))
        channel.basic_ack(method.delivery_tag)


def _channel(url: str) -> Any:
    import pika

    parameters = pika.URLParameters(url)
    parameters.virtual_host = parameters.virtual_host or "/"
    channel = pika.BlockingConnection(parameters).channel()
    for queue in ("work", "back"):
        channel.queue_declare(queue)
    return channel


# -- Dask: the same workers, by the library's own map


@contextmanager
def dask(url: str) -> Iterator[Run]:
    from distributed import Client

    with Client(url.replace("dask://", "tcp://")) as client:
        yield lambda chunks: [pickle.loads(one) for one in client.gather(client.map(_pickled, chunks, pure=False))]


def _pickled(chunk: Chunk) -> bytes:
    return pickle.dumps(many(chunk))  # Dask looks at each element of a list, which takes it many times as long


PEERS: dict[str, Peer] = {
    "amqp": amqp,
    "dask": dask,
    "grpc": grpc,
    "manager": manager,
    "redis": redis,
    "zeromq": zeromq,
}
"""By scheme. There is none for the others: over bare sockets it would be a broker written anew, and RPyC and Pyro5 are
for calls to one server each, without a middle that shares them out."""
