"""The bundle that is checked in is what its source builds, and its source knows the API as it is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from manifold.web import models
from manifold.web.plugin import ManifoldPlugin

from .site import ROOT

WEB = ROOT / "include" / "manifold" / "web"
SOURCE = WEB / "ui" / "src"
_INTERFACE = re.compile(r"^export interface (\w+)(?: extends (\w+))? \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_LITERAL = re.compile(r"^export type (\w+) = (.*);$", re.MULTILINE)
TYPES = (SOURCE / "types.ts").read_text()
INTERFACES = {name: (parent, body) for name, parent, body in _INTERFACE.findall(TYPES)}

REQUESTS = ("Control", "Redrive")  # unions over there: the API's own tests send them


def fields(name: str) -> dict[str, bool]:
    """The fields of an interface: whether each may be null or left out."""
    parent, body = INTERFACES[name]
    own = re.findall(r"^  (\w+)(\??): (.*);$", body, re.MULTILINE)
    return (fields(parent) if parent else {}) | {
        field: bool(optional) or "null" in kind.split(" | ") for field, optional, kind in own
    }


@pytest.mark.timeout(600)
def test_the_source_builds_the_bundle_that_is_checked_in(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        missing = "no npm: install Node.js 20 or newer"
        if {"node", "all"} & {*os.environ.get("MANIFOLD_REQUIRE", "").split()}:
            pytest.fail(missing)
        pytest.skip(missing)
    shutil.copytree(WEB / "ui", tmp_path / "ui", ignore=shutil.ignore_patterns("node_modules"))
    for words in (["ci", "--ignore-scripts", "--no-audit", "--no-fund"], ["run", "build"]):
        told = subprocess.run([npm, *words], cwd=tmp_path / "ui", capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stdout + told.stderr
    built = (tmp_path / "static" / "main.js").read_bytes()
    assert built == (WEB / "static" / "main.js").read_bytes(), "run: make web"


@pytest.mark.parametrize("name", [name for name in INTERFACES if name not in REQUESTS])
def test_each_type_of_the_page_has_the_fields_of_the_api(name: str) -> None:
    model: type[BaseModel] = getattr(models, name)
    expected = {field: type(None) in get_args(info.annotation) for field, info in model.model_fields.items()}
    assert fields(name) == expected


@pytest.mark.parametrize("name", ["State", "Verb"])
def test_each_choice_of_the_page_is_one_of_the_api(name: str) -> None:
    known = dict(_LITERAL.findall(TYPES))
    assert set(re.findall(r'"(\w+)"', known[name])) == set(get_args(getattr(models, name)))


def test_the_page_links_to_the_list_where_the_plugin_puts_it() -> None:
    (nav,) = [app for app in ManifoldPlugin().react_apps if app["destination"] == "nav"]
    assert f'LIST_PATH = "/plugin/{nav["url_route"]}"' in (SOURCE / "base" / "links.ts").read_text()


def test_the_bundle_takes_the_libraries_from_its_host() -> None:
    bundle = (WEB / "static" / "main.js").read_text()
    assert "globalThis" in bundle
    assert len(bundle) < 100_000
    assert "react.transitional.element" not in bundle
