"""TLS by the options of a URL, with certificates of an authority that was made for the test."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from manifold.config import new_secret
from manifold.demo.server import LOOPBACK
from manifold.engines._remote.mailboxes import HubTransport
from manifold.engines.open import open_engine
from manifold.errors import ConfigError, EngineError
from manifold.registry import ENGINES
from tests.remote.fleet import Fleet
from tests.remote.middles import MIDDLES


def has_tls(scheme: str) -> bool:
    transport = ENGINES.entries[scheme].load().transport
    return issubclass(transport, HubTransport) and transport.tls


class Authority:
    """Signs certificates, which are files in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._key = generate_private_key(SECP256R1())
        self.file = self._write(f"{name}.pem", self._signed(name, self._key, authority=True))

    def certificate(self, name: str) -> dict[str, str]:
        """Return the options `tls_cert` and `tls_key` of a new one, for the loopback address."""
        key = generate_private_key(SECP256R1())
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        certificate = self._write(f"{self._name}-{name}.pem", self._signed(name, key))
        return {"tls_cert": certificate, "tls_key": self._write(f"{self._name}-{name}.key", secret)}

    def _signed(self, name: str, key: EllipticCurvePrivateKey, *, authority: bool = False) -> bytes:
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(self._name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(LOOPBACK))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .sign(self._key, SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    def _write(self, name: str, data: bytes) -> str:
        (self._folder / name).write_bytes(data)
        return str(self._folder / name)


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
