"""Certificates of an authority that was made for a test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from manifold.demo.server import LOOPBACK


class Authority:
    """Signs certificates, which are files in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._key = generate_private_key(SECP256R1())
        self.file = self._write(f"{name}.pem", self._signed(name, self._key, None))

    def certificate(self, name: str, address: str = LOOPBACK) -> dict[str, str]:
        """Return the options `tls_cert` and `tls_key` of a new one, for that address."""
        key = generate_private_key(SECP256R1())
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        certificate = self._write(f"{self._name}-{name}.pem", self._signed(name, key, address))
        return {"tls_cert": certificate, "tls_key": self._write(f"{self._name}-{name}.key", secret)}

    def _signed(self, name: str, key: EllipticCurvePrivateKey, address: str | None) -> bytes:
        """Without an address, the authority's own. All that a strict check asks for is in it."""

        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        now, ca = datetime.now(UTC), address is None
        return (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(self._name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address or LOOPBACK))]), False)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), True)
            .add_extension(x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False)
            .sign(self._key, SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    def _write(self, name: str, data: bytes) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / name).write_bytes(data)
        return str(self._folder / name)
