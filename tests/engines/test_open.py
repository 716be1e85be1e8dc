"""What names an engine."""

from __future__ import annotations

import pytest

from manifold import config
from manifold.engines.open import open_engine
from manifold.engines.threads import ThreadsEngine
from manifold.errors import ConfigError
from manifold.testing.engines import SLOW
from manifold.worker import beat


def test_an_engine_is_taken_as_it_is() -> None:
    with ThreadsEngine(1) as engine:
        assert open_engine(engine) is engine


def test_a_name_without_a_scheme_is_a_connection_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "resolvers", [{"night_shift": "threads://3"}.get])
    with open_engine("night_shift") as engine:
        assert engine.slots() == 3


def test_a_name_that_nobody_knows_is_refused_with_what_to_write() -> None:
    with pytest.raises(ConfigError, match="processes://4"):
        open_engine("night_shift")


def test_an_unknown_scheme_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean processes://4"):
        open_engine("process://4")


def test_a_call_in_a_thread_is_watched() -> None:
    with open_engine("threads://1") as engine:
        token = engine.submit(lambda: beat.current().token).result(SLOW)
        assert token
        assert beat.snapshot() == []
