"""Who may use a hub: a password that both sides prove to know without sending it, and TLS where the URL asks for it."""

from __future__ import annotations

import hmac
import secrets
import ssl
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from manifold import config
from manifold.abc import Place
from manifold.errors import ConfigError

Ask = Callable[..., Any]
"""Sends a request to a hub and returns its answer: `ask("receive", mailbox, timeout)`."""


class AccessDenied(Exception):
    """The other side does not know the password."""


def password(place: Place) -> bytes:
    """Return the URL's password, or without one what is derived of MANIFOLD_SECRET: a hub always has one.

    Raises:
        ConfigError: there is neither.
    """
    if place.password:
        return place.password.encode()
    keyring = config.keyring()
    return derived(keyring.key(keyring.current, "hub"), "manifold hub password").hex().encode()


def derived(key: bytes, purpose: str) -> bytes:
    """Return 32 bytes that are made of a key, and tell nothing of it or of those for another purpose."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(key)


def prove(ask: Ask, secret: bytes) -> None:
    """Prove to a hub that this side knows the password, and have it prove the same.

    Raises:
        AccessDenied: either does not.
    """
    ours = secrets.token_bytes(32)
    theirs, proof = ask("hello", ours)
    if not hmac.compare_digest(proof, _proof(secret, b"hub", ours, theirs)):
        raise AccessDenied("the hub does not know the password; is MANIFOLD_SECRET, or the URL's, the same there?")
    ask("prove", _proof(secret, b"client", ours, theirs))


class Gate:
    """A hub's side of one connection: nothing but the proof is answered before it was given.

    Args:
        ask: what answers requests once it was.
    """

    def __init__(self, ask: Ask, secret: bytes) -> None:
        self._ask = ask
        self._secret = secret
        self._wanted: bytes | None = None
        self._open = False

    def ask(self, what: str, *given: Any) -> Any:
        """Answer a request; raises AccessDenied, after which the connection is of no use."""
        if self._open:
            return self._ask(what, *given)
        if what == "hello" and self._wanted is None and len(given) == 1 and isinstance(given[0], bytes):
            ours = secrets.token_bytes(32)
            self._wanted = _proof(self._secret, b"client", given[0], ours)
            return ours, _proof(self._secret, b"hub", given[0], ours)
        wanted, self._wanted = self._wanted, b""
        if what != "prove" or not wanted or len(given) != 1 or not hmac.compare_digest(bytes(given[0]), wanted):
            raise AccessDenied("wrong password")
        self._open = True
        return None


def client_tls(place: Place) -> ssl.SSLContext | None:
    """Return how to speak to the server by TLS; None where the URL does not ask for it.

    `?tls=true` trusts the system's authorities, `tls_ca=FILE` that one alone; `tls_cert=FILE` and `tls_key=FILE` show
    who this side is.
    """
    if not wants_tls(place):
        return None
    try:
        context = ssl.create_default_context(cafile=place.options.get("tls_ca"))
        _load_own(context, place)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(f"cannot use the certificates of {place}: {exc}") from exc
    return context


def server_tls(place: Place) -> ssl.SSLContext | None:
    """Return how a hub speaks TLS, with `tls_cert` and `tls_key`; `tls_ca`: only clients that it has signed."""
    if not wants_tls(place):
        return None
    if "tls_cert" not in place.options:
        raise ConfigError(f"a hub at {place} needs ?tls_cert=FILE&tls_key=FILE")
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=place.options.get("tls_ca"))
        if "tls_ca" in place.options:
            context.verify_mode = ssl.CERT_REQUIRED
        _load_own(context, place)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(f"cannot use the certificates of {place}: {exc}") from exc
    return context


def wants_tls(place: Place) -> bool:
    """Return whether the URL asks for TLS."""
    return place.options.get("tls", "false") == "true" or "tls_ca" in place.options or "tls_cert" in place.options


def _load_own(context: ssl.SSLContext, place: Place) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if "tls_cert" in place.options:
        context.load_cert_chain(place.options["tls_cert"], place.options.get("tls_key"))


def _proof(secret: bytes, role: bytes, client: bytes, hub: bytes) -> bytes:
    return hmac.digest(secret, role + client + hub, "sha256")
