"""A task that is not a call of Manifold's, and takes a slot as a coordinator does."""

from __future__ import annotations

from celery import shared_task

from manifold.testing import calls

shared_task(name="tests.hold", ignore_result=True)(calls.hold)
