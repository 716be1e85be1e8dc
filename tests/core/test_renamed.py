"""Old names of modules work for one minor version, and say what they are now."""

from __future__ import annotations

from importlib import import_module

import pytest

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
