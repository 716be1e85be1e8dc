"""TLS by the options of a URL, with certificates of an authority that was made for the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from manifold.config import new_secret
from manifold.demo.server import LOOPBACK
from manifold.engines._remote.mailboxes import HubTransport
from manifold.engines.open import open_engine
from manifold.errors import ConfigError, EngineError
from manifold.registry import ENGINES
from tests.remote.certificates import Authority
from tests.remote.fleet import Fleet
from tests.remote.middles import MIDDLES


def has_tls(scheme: str) -> bool:
    transport = ENGINES.entries[scheme].load().transport
    return issubclass(transport, HubTransport) and transport.tls


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("strange"), "strange")


@pytest.fixture(params=[scheme for scheme in MIDDLES if has_tls(scheme)])
def fleet(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    """A hub that is not started."""
    monkeypatch.setenv("MANIFOLD_SECRET", new_secret())
    made = MIDDLES[request.param](tmp_path, LOOPBACK)
    yield made
    made.close()


def with_options(url: str, **options: str) -> str:
    return f"{url}?{urlencode(options)}"


def test_workers_and_coordinators_that_trust_the_authority_use_a_hub_by_tls(fleet: Fleet, authority: Authority) -> None:
    plain = fleet.url
    fleet.url = with_options(plain, tls_ca=authority.file)
    fleet.start_hub(url=with_options(plain, **authority.certificate("hub")))
    fleet.worker()
    with fleet.engine() as engine:
        assert engine.submit(pow, 2, 10).result(60) == 1024
    with pytest.raises(EngineError, match="without TLS"):
        open_engine(plain)


def test_a_hub_with_the_certificate_of_another_authority_is_refused(
    fleet: Fleet, authority: Authority, stranger: Authority
) -> None:
    plain = fleet.url
    fleet.url = with_options(plain, tls_ca=stranger.file)
    fleet.start_hub(url=with_options(plain, **stranger.certificate("hub")))
    for url in (with_options(plain, tls_ca=authority.file), with_options(plain, tls="true")):
        with pytest.raises(EngineError, match=r"(?is)certificate.*with a certificate that tls_ca has signed"):
            open_engine(url)


def test_a_hub_with_an_authority_wants_a_certificate_of_its_clients(
    fleet: Fleet, authority: Authority, stranger: Authority
) -> None:
    plain = fleet.url
    fleet.url = with_options(plain, tls_ca=authority.file, **authority.certificate("client"))
    fleet.start_hub(url=with_options(plain, tls_ca=authority.file, **authority.certificate("hub")))
    for own in ({}, stranger.certificate("client")):
        with pytest.raises(EngineError, match="does it trust this side's"):
            open_engine(with_options(plain, tls_ca=authority.file, **own))
    open_engine(fleet.url).shutdown()


def test_a_hub_without_tls_is_not_used_by_tls(fleet: Fleet, authority: Authority) -> None:
    fleet.start_hub()
    with pytest.raises(EngineError, match="with a certificate that tls_ca has signed"):
        open_engine(with_options(fleet.url, tls_ca=authority.file))


def test_a_certificate_that_cannot_be_read_is_named(fleet: Fleet, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot use the certificates"):
        open_engine(with_options(fleet.url, tls_ca=str(tmp_path / "missing.pem")))
