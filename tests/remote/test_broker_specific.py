"""What is particular to transports with a broker of their own: RabbitMQ and Redis."""

from __future__ import annotations

import re
import shlex
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import redis

import manifold
from manifold.abc import MailboxFull, Place, Transport, TransportError
from manifold.config import new_secret
from manifold.demo.process import free_port
from manifold.demo.server import LOOPBACK
from manifold.engines import _pika
from manifold.engines._remote.place import check_url
from manifold.engines.amqp import AmqpTransport
from manifold.engines.open import open_engine
from manifold.engines.redis import RedisTransport
from manifold.errors import ConfigError, EngineError
from manifold.testing.engines import until
from tests.docs.markdown import ROOT, blocks
from tests.remote.certificates import Authority
from tests.remote.fleet import Fleet
from tests.remote.middles import MIDDLES
from tests.remote.tls_relay import tls_relay
from tests.servers import CuttableRedis, RabbitServer

TRANSPORTS: dict[str, type[Transport]] = {"amqp": AmqpTransport, "redis": RedisTransport}
GROUP = "manifold.test.w"
PART = b"x" * Transport.max_bytes


@dataclass
class Broker:
    """One running broker, and how to connect to it."""

    scheme: str
    fleet: Fleet

    @property
    def server(self) -> Any:
        return self.fleet.server

    def place(self, **options: str) -> Place:
        return replace(check_url(self.fleet.url), options=options)

    def connect(self, **options: str) -> Transport:
        return TRANSPORTS[self.scheme].connect(self.place(**options))

    def opened(self, **options: str) -> tuple[Transport, str]:
        """A transport that owns a new mailbox."""
        transport, mailbox = self.connect(**options), f"{GROUP}.{uuid.uuid4().hex}"
        transport.open(mailbox, GROUP)
        return transport, mailbox


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Broker]]:
    """A broker of each kind, started when it is first asked for. Tests leave it running."""
    with ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setenv("MANIFOLD_SECRET", new_secret())

        @cache
        def started(scheme: str) -> Broker:
            fleet = MIDDLES[scheme](tmp_path_factory.mktemp(scheme), LOOPBACK)
            stack.callback(fleet.close)
            fleet.start_hub()
            return Broker(scheme, fleet)

        yield started


@pytest.fixture
def broker(request: pytest.FixtureRequest, brokers: Callable[[str], Broker]) -> Broker:
    return brokers(request.param)


@pytest.fixture
def rabbit(brokers: Callable[[str], Broker]) -> Broker:
    return brokers("amqp")


@pytest.fixture
def redis_broker(brokers: Callable[[str], Broker]) -> Broker:
    return brokers("redis")


every_broker = pytest.mark.parametrize("broker", TRANSPORTS, indirect=True)


@every_broker
def test_a_wrong_password_says_what_to_do_and_is_not_shown(broker: Broker) -> None:
    url = re.sub(r"//.*@", "//:s3cretword@" if broker.scheme == "redis" else "//guest:s3cretword@", broker.fleet.url)
    with pytest.raises(EngineError, match="check user and password in the URL") as told:
        open_engine(url)
    assert "s3cretword" not in str(told.value)
    assert "nothing answers" not in str(told.value)


@every_broker
def test_a_mailbox_that_is_full_refuses_and_loses_nothing(broker: Broker) -> None:
    sender = broker.connect()
    reader, mailbox = broker.opened()
    sent = sent_until_full(sender, mailbox)
    assert sent >= 16
    numbers = []
    while (data := reader.receive(1.0)) is not None:
        numbers.append(int(data[:3]))
    assert numbers == [*range(sent)]
    sender.send(mailbox, b"has room again")
    assert reader.receive(5.0) == b"has room again"
    sender.close()
    reader.close()


@every_broker
def test_what_goes_to_all_reaches_those_that_have_room(broker: Broker) -> None:
    sender = broker.connect()
    full, full_mailbox = broker.opened()
    reader, _ = broker.opened()
    sent_until_full(sender, full_mailbox)
    sender.send(GROUP, b"to all", everyone=True)
    assert reader.receive(5.0) == b"to all"
    for transport in (sender, reader, full):
        transport.close()


@every_broker
def test_messages_to_a_mailbox_that_nobody_opened_vanish(broker: Broker) -> None:
    sender = broker.connect()
    sender.send(f"{GROUP}.{uuid.uuid4().hex}", b"to nobody")
    sender.send("manifold.nobody.w", b"to nobody", everyone=True)
    reader, mailbox = broker.opened()
    sender.send(mailbox, b"one")
    assert reader.receive(5.0) == b"one"
    assert reader.receive(0.1) is None
    sender.close()
    reader.close()
    assert not left(broker)


@every_broker
def test_the_latest_instance_has_the_mailbox_also_while_an_earlier_one_is_connected(broker: Broker) -> None:
    sender = broker.connect()
    earlier, mailbox = broker.opened()
    later = broker.connect()
    later.open(mailbox, GROUP)
    for number in range(100):  # more than the earlier one would be sent without acknowledging
        sender.send(mailbox, b"%d" % number)
        assert later.receive(5.0) == b"%d" % number
    for transport in (sender, later, earlier):
        transport.close()


@every_broker
def test_mailboxes_are_gone_once_coordinator_and_worker_have_ended(broker: Broker) -> None:
    worker = broker.fleet.worker()
    with broker.fleet.engine() as engine:
        assert engine.submit(divmod, 7, 2).result(30) == (3, 1)
        assert left(broker)
    worker.stop()
    assert not left(broker)


@every_broker
def test_what_a_coordinator_leaves_behind_that_was_killed_expires(broker: Broker) -> None:
    sender = broker.connect()
    reader, mailbox = broker.opened()
    sender.send(mailbox, b"to somebody who will not read it")
    if isinstance(broker.server, CuttableRedis):
        with redis.Redis.from_url(broker.server.url()) as client:
            keys = [*client.scan_iter("*")]
            assert len(keys) == 3
            assert all(0 < client.ttl(key) <= 1200 for key in keys)
    else:
        told = broker.server.control("list_queues", "name", "arguments")
        assert re.search(rf"{re.escape(mailbox)}.*x-expires.*600000", told)
    sender.close()
    reader.close()


BROKEN = {"amqp": "amqp", "amqp-quorum": "amqp", "redis": "redis"}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broker_that_is_killed_and_started_again_costs_no_item(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANIFOLD_SECRET", new_secret())
    third, two_thirds = tmp_path / "third", tmp_path / "two_thirds"

    def work(item: int) -> int:
        time.sleep(0.0005)
        if item in (7_000, 14_000):
            (third if item == 7_000 else two_thirds).touch()
        return item * item

    fleet = MIDDLES[BROKEN[how]](tmp_path, LOOPBACK)
    fleet.url += "?queues=quorum" if how == "amqp-quorum" else ""
    results: list[int] = []

    def run() -> None:
        results.extend(
            manifold.scatter(
                work,
                range(20_000),
                engine=fleet.url,
                store=f"file://{tmp_path / 'store'}?shared=true",
                ledger=f"sqlite:///{tmp_path / 'ledger.db'}",
                chunk_size=100,
                monitors=[],
            )
        )

    try:
        fleet.start_hub()
        for _ in range(2):
            fleet.worker(2)
        fleet.engine(4).shutdown()
        thread = threading.Thread(target=run)
        thread.start()
        for reached in (third, two_thirds):
            until(reached.exists, f"{reached.name} is reached", 120)
            fleet.kill_hub()
            fleet.start_hub()
        thread.join(200)
        assert not thread.is_alive(), fleet.output()
        assert results == [item * item for item in range(20_000)]
    finally:
        fleet.close()


def test_a_redis_without_memory_refuses_and_loses_nothing(redis_broker: Broker) -> None:
    sender = redis_broker.connect()
    reader, mailbox = redis_broker.opened()
    with redis.Redis.from_url(redis_broker.server.url()) as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 8 * len(PART))
        try:
            sent, received = sent_until_full(sender, mailbox), 0
            while reader.receive(0.5) is not None:
                received += 1
            assert 0 < received == sent < 16
            sender.send(mailbox, b"has room again")
            assert reader.receive(5.0) == b"has room again"
        finally:
            client.config_set("maxmemory", 0)
    sender.close()
    reader.close()


def test_a_rabbitmq_without_memory_says_so(rabbit: Broker) -> None:
    sender = rabbit.connect()
    reader, mailbox = rabbit.opened()
    rabbit.server.control("set_vm_memory_high_watermark", "0.00001")
    try:
        until(lambda: "memory" in rabbit.server.control("eval", "rabbit_alarm:get_alarms()."), "an alarm")
        with pytest.raises(TransportError, match="has it memory and disk left"):
            sender.send(mailbox, b"one")
    finally:
        rabbit.server.control("set_vm_memory_high_watermark", "0.4")
    sender.close()
    sender = rabbit.connect()
    sender.send(mailbox, b"two")
    until(lambda: reader.receive(1.0) == b"two", "what was sent again is there")
    sender.close()
    reader.close()


def test_the_kind_of_queue_can_be_chosen(rabbit: Broker) -> None:
    for kind in ("classic", "quorum"):
        transport, mailbox = rabbit.opened(queues=kind)
        told = rabbit.server.control("list_queues", "name", "type")
        assert re.search(rf"{re.escape(mailbox)}\s+{kind}", told)
        transport.close()
    with pytest.raises(ConfigError, match=r"queues='mirrored' of .* must be one of classic, quorum"):
        rabbit.connect(queues="mirrored")


def test_an_engine_without_work_is_not_cut_off_by_heartbeats(rabbit: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pika, "_HEARTBEAT", 1)
    written = len(rabbit_log(rabbit.server))
    with open_engine(rabbit.fleet.url):
        time.sleep(6.0)  # a broker gives up a connection that is silent for three times as long
    assert "missed heartbeats" not in rabbit_log(rabbit.server)[written:]


def test_a_database_of_redis_is_a_number(redis_broker: Broker) -> None:
    with pytest.raises(ConfigError, match="must be the number of a database"):
        RedisTransport.connect(replace(redis_broker.place(), path="jobs"))


def test_rabbitmq_by_tls(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    server, port = ours.certificate("server"), free_port()
    settings = {
        "listeners.ssl.default": f"{LOOPBACK}:{port}",
        "ssl_options.cacertfile": ours.file,
        "ssl_options.certfile": server["tls_cert"],
        "ssl_options.keyfile": server["tls_key"],
        "ssl_options.verify": "verify_peer",
        "ssl_options.fail_if_no_peer_cert": "true",
    }
    with RabbitServer(tmp_path / "rabbitmq", settings=settings) as running:
        place = replace(check_url(running.url()), port=port)
        known = {"tls_ca": ours.file, **ours.certificate("client")}
        exchanges_a_message(AmqpTransport, replace(place, options=known))
        for wrong in ({**known, "tls_ca": theirs.file}, {"tls_ca": ours.file}, {}):
            with pytest.raises(TransportError):
                AmqpTransport.connect(replace(place, options=wrong))


def test_redis_by_tls(redis_broker: Broker, tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    place, known = redis_broker.place(), {"tls_ca": ours.file}
    with tls_relay(place.port, **ours.certificate("server")) as port:
        exchanges_a_message(RedisTransport, replace(place, port=port, options=known))
        for wrong in ({"tls_ca": theirs.file}, {"tls": "true"}, {}):
            with pytest.raises(TransportError):
                RedisTransport.connect(replace(place, port=port, options=wrong))
    elsewhere = ours.certificate("elsewhere", "127.0.0.2")
    with tls_relay(place.port, **elsewhere) as port, pytest.raises(TransportError, match=r"127\.0\.0\.1"):
        RedisTransport.connect(replace(place, port=port, options=known))


def test_the_user_that_the_page_on_rabbitmq_makes_has_all_rights_that_are_needed(rabbit: Broker) -> None:
    for line in commands("amqp.md", "rabbitmqctl"):
        rabbit.server.control(*line)
    place = replace(rabbit.place(), user="manifold", password="PASSWORD", path="manifold")
    exchanges_a_message(AmqpTransport, place)


def test_the_user_that_the_page_on_redis_makes_has_all_rights_that_are_needed(redis_broker: Broker) -> None:
    with redis.Redis.from_url(redis_broker.server.url()) as client:
        for line in commands("redis.md", "redis-cli"):
            client.execute_command(*line)
    exchanges_a_message(RedisTransport, replace(redis_broker.place(), user="manifold", password="PASSWORD"))


def sent_until_full(sender: Transport, mailbox: str) -> int:
    """Send parts that begin with their number; return how many went in."""
    for number in range(100):
        try:
            sender.send(mailbox, b"%03d" % number + PART[3:])
        except MailboxFull:
            return number
    raise AssertionError("the mailbox has no bounds")


def exchanges_a_message(kind: type[Transport], place: Place) -> None:
    sender, reader, mailbox = kind.connect(place), kind.connect(place), f"{GROUP}.{uuid.uuid4().hex}"
    reader.open(mailbox, GROUP)
    sender.send(mailbox, PART)
    sender.send(GROUP, b"to all", everyone=True)
    assert reader.receive(5.0) == PART
    assert reader.receive(5.0) == b"to all"
    sender.close()
    reader.close()


def commands(page: str, program: str) -> list[list[str]]:
    """The arguments of that program's commands on a page."""
    lines = [
        shlex.split(line) for block in blocks(ROOT / "docs" / "engines" / page) for line in block.text.splitlines()
    ]
    found = [words[1:] for words in lines if words[:1] == [program]]
    assert found
    return found


def left(broker: Broker) -> list[str]:
    """What of Manifold's the broker keeps."""
    if isinstance(broker.server, CuttableRedis):
        with redis.Redis.from_url(broker.server.url()) as client:
            return [key.decode() for key in client.scan_iter("*")]
    told = broker.server.control("list_queues", "name") + broker.server.control("list_exchanges", "name")
    return re.findall(r"manifold\S*", told)


def rabbit_log(server: RabbitServer) -> str:
    return "".join(path.read_text() for path in sorted((server.data / "log").glob("*.log")))
