"""The rows of adapters: Manifold's own are true, and other packages' are rows like these."""

from __future__ import annotations

import logging
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import metadata, version
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from manifold.abc import Source
from manifold.adapter import Adapter
from manifold.cli.app import app
from manifold.cli.checks import versions
from manifold.engines.open import check_engine, open_engine
from manifold.errors import ConfigError, MissingExtra
from manifold.registry import ENGINES, FORMATS, REGISTRIES, STORES, Registry
from manifold.sources import formats, records
from manifold.stores import open_store

ROWS = [pytest.param(registry, row, id=row.path) for registry in REGISTRIES for row in registry.entries.values()]
ENGINE = """
from manifold.engines.threads import ThreadsEngine

class TunnelEngine(ThreadsEngine):
    "Workers at the end of a tunnel."
    same_host, in_process, kills_items = False, False, True

    @classmethod
    def from_url(cls, url, **options):
        return cls(2)
"""
ROW = """
from manifold.abc import Source
from manifold.adapter import Adapter, Connection, Form

ROW = Adapter(
    "tunnel",
    "tunnel_engine:TunnelEngine",
    (Form("tunnel://gate", "workers at the end of a tunnel"),),
    clients=("digger",),
    package="airflow-tunnel",
    reads="tunnel:read",
    connection=Connection("tunnel", "Gate", "gate", ("port",)),
)
STORE = Adapter("hole", "manifold.stores.memory:MemoryStore", (Form("hole://x", "a hole"),), reach="process")
PAIRS = Adapter("pairs", "tunnel:pairs", (Form("*.pairs", "two words"),), suffixes=("pairs",))

def read(url, **options):
    from manifold.errors import ConfigError
    if "?" in url:
        raise ConfigError("a tunnel has no options")

def pairs(stream, name, encoding):
    for line in stream:
        yield tuple(line.decode(encoding).split())
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make a package of modules and entry points, as pip would put it there."""

    def made(points: str, **modules: str) -> None:
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
            monkeypatch.delitem(sys.modules, name, raising=False)
        about = tmp_path / "airflow_tunnel-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: airflow-tunnel\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(points)
        monkeypatch.syspath_prepend(tmp_path)

    return made


def items(source: Source) -> list[Any]:
    source.pin(None)
    return list(source.read())


@pytest.fixture
def tunnel(install: Install) -> None:
    install(
        "[manifold.engines]\ntunnel = tunnel:ROW\ntunnels = tunnel:ROW\n"
        "[manifold.stores]\nhole = tunnel:STORE\n[manifold.formats]\npairs = tunnel:PAIRS\n",
        tunnel=ROW,
        tunnel_engine=ENGINE,
    )


@pytest.mark.parametrize(("registry", "row"), ROWS)
def test_what_a_row_names_is_there(registry: Registry, row: Adapter) -> None:
    for path in filter(None, (row.path, row.reads, row.writer)):
        assert callable(row.load(path))
    assert row.says
    assert bool(row.extra) == bool(row.clients)
    assert row.extra in ("", *metadata("airflow-manifold").get_all("Provides-Extra", []))
    assert bool(row.writer) == bool(row.written)
    if registry is not FORMATS:
        assert all(registry.row(form.example) is row for form in row.forms)


def test_no_client_is_imported_where_the_core_could_pay_for_it() -> None:
    rules = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    banned = rules["flake8-tidy-imports"]["banned-module-level-imports"]
    assert {client for registry in REGISTRIES for row in registry.entries.values() for client in row.clients} <= {
        *banned
    }


def test_every_engine_can_be_a_connection() -> None:
    assert all(row.connection for row in ENGINES.entries.values())


def test_the_doctor_names_the_version_of_what_each_extra_of_a_row_installs() -> None:
    found = versions().found
    for package in ("airflow-manifold", "celery", "apache-airflow-providers-celery", "psycopg2-binary", "pyarrow"):
        assert f" {package} {version(package)}" in found
    assert "pytest" not in found


@pytest.mark.usefixtures("tunnel")
def test_another_packages_engine_is_opened_under_each_of_its_schemes_without_a_change_here() -> None:
    for scheme in ("tunnel", "tunnels"):
        with open_engine(f"{scheme}://gate") as engine:
            assert engine.submit(len, "abc").result(10) == 3
            assert not engine.same_host


@pytest.mark.usefixtures("tunnel")
def test_another_packages_engine_is_checked_without_being_imported() -> None:
    check_engine("tunnel://gate")
    with pytest.raises(ConfigError, match="no options"):
        check_engine("tunnel://gate?depth=3")
    with pytest.raises(ConfigError, match="cannot be enforced by tunnel://gate"):
        check_engine("tunnel://gate", item_timeout=5)
    assert "tunnel_engine" not in sys.modules


@pytest.mark.usefixtures("tunnel")
def test_another_packages_adapters_are_listed_beside_ours() -> None:
    told = CliRunner().invoke(app, ["engines", "--help"]).output
    assert "tunnel://gate" in told
    assert "workers at the end of a tunnel" in told
    assert all(row.example in told for row in ENGINES.entries.values())
    with pytest.raises(ConfigError, match=r"Known: .*celery://.*tunnel://, tunnels://"):
        ENGINES.row("nowhere://")
    with pytest.raises(ConfigError, match="did you mean tunnel://gate"):
        ENGINES.row("tunel://gate")
    assert "tunnel_engine" not in sys.modules


def test_the_lack_of_another_packages_client_is_told_with_its_pip_line(install: Install) -> None:
    install("[manifold.engines]\ntunnel = tunnel:ROW\n", tunnel=ROW, tunnel_engine=f"import digger\n{ENGINE}")
    with pytest.raises(MissingExtra, match=r"tunnel:// needs the package 'digger': pip install \"airflow-tunnel\""):
        open_engine("tunnel://gate")


def test_the_lack_of_a_client_that_shows_when_it_is_opened_is_told_likewise(install: Install) -> None:
    late = ENGINE.replace("return cls(2)", "import digger")
    install("[manifold.engines]\ntunnels = tunnel:ROW\n", tunnel=ROW, tunnel_engine=late)
    with pytest.raises(MissingExtra, match=r"tunnels:// needs the package 'digger'"):
        open_engine("tunnels://gate")


@pytest.mark.usefixtures("tunnel")
def test_another_packages_store_and_format_are_rows_too(tmp_path: Path) -> None:
    assert STORES.row("hole://x").reach == "process"
    assert "hole" in [row.scheme for row in STORES.rows()]
    with pytest.raises(ConfigError, match="memory://NAME"):
        open_store("hole://x/y")
    (tmp_path / "words.pairs").write_text("a b\nc d\n")
    formats._format_of_suffix.cache_clear()
    assert items(records(tmp_path / "words.pairs")) == items(records(tmp_path / "words.pairs", "pairs"))
    assert items(records(tmp_path / "words.pairs")) == [("a", "b"), ("c", "d")]


def test_the_lack_of_a_formats_client_is_told_by_the_formats_name(install: Install, tmp_path: Path) -> None:
    row = ROW.replace('"tunnel:pairs"', '"diggers:pairs"').replace(
        'suffixes=("pairs",)', 'clients=("digger",), extra="dig"'
    )
    install("[manifold.formats]\npairs = tunnel:PAIRS\n", tunnel=row, diggers="import digger")
    (tmp_path / "words").write_text("a b\n")
    with pytest.raises(
        MissingExtra, match=r"pairs needs the package 'digger': pip install \"airflow-manifold\[dig\]\""
    ):
        items(records(tmp_path / "words", "pairs"))


def test_an_entry_point_that_names_the_class_itself_makes_a_row_of_what_it_says(install: Install) -> None:
    install("[manifold.engines]\ntunnel = tunnel_engine:TunnelEngine\n", tunnel_engine=ENGINE)
    row = ENGINES.row("tunnel://gate")
    assert (row.reach, row.kills_items, row.says) == ("hosts", True, "Workers at the end of a tunnel.")
    check_engine("tunnel://gate", item_timeout=5)
    with open_engine("tunnel://gate") as engine:
        assert engine.slots() == 2


def test_a_package_that_cannot_be_loaded_is_told_of_and_hides_no_other(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install("[manifold.engines]\nbroken = no_such_module:ROW\ntunnel = tunnel:ROW\n", tunnel=ROW)
    with caplog.at_level(logging.WARNING, "manifold"):
        schemes = [row.scheme for row in ENGINES.rows()]
    assert schemes == [*ENGINES.entries, "tunnel"]
    assert "the engine broken (no_such_module:ROW) cannot be loaded" in caplog.text


def test_no_other_package_takes_a_scheme_of_ours(install: Install) -> None:
    install("[manifold.engines]\nthreads = tunnel:ROW\n", tunnel=ROW)
    assert ENGINES.row("threads://2") is ENGINES.entries["threads"]
    assert ENGINES.rows() == [*ENGINES.entries.values()]


@pytest.mark.usefixtures("tunnel")
def test_another_packages_engine_has_a_connection_type_in_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    from manifold.airflow import hooks
    from manifold.airflow.provider import get_provider_info

    types: dict[str, Any] = {one["connection-type"]: one for one in get_provider_info()["connection-types"]}
    assert types["tunnel"]["hook-class-name"] == "manifold.airflow.hooks.TunnelHook"
    assert types["tunnel"]["ui-field-behaviour"]["relabeling"]["host"] == "Gate"
    assert types["tunnel"]["ui-field-behaviour"]["placeholders"] == {"host": "gate"}
    assert types["tunnel"]["ui-field-behaviour"]["hidden-fields"] == ["login", "password", "schema"]
    monkeypatch.setenv("AIRFLOW_CONN_GATE", "tunnel://north:7?depth=2")
    hooks.hooks.cache_clear()
    try:
        assert hooks.connection_url("gate") == "tunnel://north:7?depth=2"
        assert hooks.TunnelHook("gate").url == "tunnel://north:7?depth=2"
    finally:
        hooks.hooks.cache_clear()
