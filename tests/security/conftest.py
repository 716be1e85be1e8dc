"""The brokers of the Celery engine's tests."""

from __future__ import annotations

from tests.celery.conftest import broker, secret

__all__ = ["broker", "secret"]
