"""Brokers for the tests of the Celery engine, each started once, with two workers that stay."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from manifold.config import new_secret
from tests.celery.brokers import Deployment, deployment, kinds


@pytest.fixture(scope="package", autouse=True)
def secret() -> Iterator[None]:
    """One secret for this process and the workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANIFOLD_SECRET", os.environ.get("MANIFOLD_SECRET") or new_secret())
        yield


@pytest.fixture(scope="package", params=kinds())
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, secret: None
) -> Iterator[Deployment]:
    """A running broker."""
    with deployment(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running
