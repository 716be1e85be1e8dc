"""Old names of modules work for one minor version, and say what they are now."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import msgspec
import pytest

from manifold import views
from manifold.cli import shapes
from manifold.ledger.rows import TryRow

OLD = {
    "manifold.registry:masked": "manifold.redaction:masked",
    "manifold.results.view:Results": "manifold.results.results:Results",
}


@pytest.mark.parametrize("old", OLD)
def test_an_old_name_is_the_new_thing_and_warns(old: str) -> None:
    module, _, name = old.partition(":")
    where, _, now = OLD[old].partition(":")
    with pytest.warns(DeprecationWarning, match=f"{where}.{now}"):
        found = getattr(import_module(module), name)
    assert found is getattr(import_module(where), now)


def test_what_was_never_there_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        import_module("manifold.results.view").nonsense  # noqa: B018 - looking it up is what is tested


IMPORTS = """
import warnings
from celery import Celery

app = Celery("theirs", set_as_current=True)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    app.loader.import_module("manifold.engines.celery_app")
app.finalize()
print("manifold.call" in app.tasks, [one.message for one in caught if issubclass(one.category, DeprecationWarning)])
"""


def test_celery_workers_with_the_old_import_run_calls_and_say_what_to_write() -> None:
    told = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False)
    assert told.stdout.startswith("True"), told.stderr
    for text in (told.stdout, told.stderr):
        assert "manifold.engines.celery_app is now manifold.engines.celery.worker" in text


def test_json_has_the_former_fields_beside_their_successors() -> None:
    check = shapes.Check(name="ledger", state="broken", found="nothing", fix="start PostgreSQL")
    told = msgspec.json.decode(msgspec.json.encode(check))
    assert told["mend"] == told["fix"] == "start PostgreSQL"
    assert msgspec.json.decode(msgspec.json.encode(check), type=shapes.Check) == check


def test_a_ledger_with_a_former_mode_is_shown_with_the_new_one() -> None:
    row = TryRow(3, "me", "a/b", 2, 3, "host", 1, "hand back", "", 1.0, 2.0, "succeeded", None, 5, 1)
    assert views.try_(row)["mode"] == "reuse"
