"""Errors that are named: each name means what an import would give, or is refused when it is read."""

from __future__ import annotations

import asyncio
import json
import pickle
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import manifold
from manifold import error_names
from manifold.errors import ConfigError
from manifold.policy import Policy


class RateLimited(Exception):
    class Hard(Exception):
        pass


Limited = RateLimited  # an alias, as libraries have them


def _raised(maker: Any) -> BaseException:
    try:
        maker()
    except ValueError as exc:
        return exc
    raise AssertionError("nothing was raised")


MEANT: list[tuple[str, BaseException]] = [
    ("asyncio.TimeoutError", TimeoutError("no answer")),
    ("asyncio.exceptions.TimeoutError", TimeoutError()),
    ("concurrent.futures.TimeoutError", TimeoutError()),
    ("socket.timeout", TimeoutError()),
    ("socket.error", ConnectionResetError()),
    ("select.error", OSError()),
    ("IOError", FileNotFoundError()),
    ("EnvironmentError", OSError()),
    ("asyncio.CancelledError", asyncio.CancelledError()),
    ("json.JSONDecodeError", _raised(lambda: json.loads("{"))),
    ("json.decoder.JSONDecodeError", _raised(lambda: json.loads("{"))),
    ("JSONDecodeError", _raised(lambda: json.loads("{"))),
    ("urllib.error.URLError", __import__("urllib.error").error.HTTPError("u", 500, "m", None, None)),
    ("subprocess.SubprocessError", subprocess.CalledProcessError(1, "x")),
    ("socket.gaierror", socket.gaierror()),
    ("requests.ConnectionError", __import__("requests").exceptions.ProxyError()),
    ("requests.JSONDecodeError", __import__("requests").exceptions.JSONDecodeError("m", "d", 0)),
    ("builtins.LookupError", KeyError()),
    ("LookupError", KeyError()),
    ("Exception", KeyError()),
    (f"{__name__}.RateLimited", RateLimited()),
    (f"{__name__}.Limited", RateLimited()),
    (f"{__name__}.RateLimited.Hard", RateLimited.Hard()),
    ("RateLimited", RateLimited()),
    ("*.RateLimited", RateLimited()),
    ("*.NobodyHasThis", type("NobodyHasThis", (Exception,), {})()),
]


@pytest.mark.parametrize(("name", "exc"), MEANT, ids=[name for name, _ in MEANT])
def test_a_name_means_what_an_import_gives(name: str, exc: BaseException) -> None:
    wanted = Policy.of({"retry_on": name}).retry_on
    assert error_names.is_named(exc, wanted)
    assert error_names.is_named(exc, pickle.loads(pickle.dumps(wanted))), "and so it does where it was sent to"
    assert not error_names.is_named(ZeroDivisionError(), Policy.of({"retry_on": name}).retry_on) or name == "Exception"


NOTHING = [
    "asyncio.TimoutError",
    "json.NoSuchError",
    "json.no.such.Error",
    "nosuch.module.Error",
    "nosuch.Error",
    "requests.NoSuchError",
    "requests.exceptions.NoSuchError",
    "requests.nosuch.Error",
    "NoSuchErrorAnywhere",
    "ConectionError",
    f"{__name__}.RateLimited.Soft",
    # no exceptions at all
    "json.dumps",
    "json",
    "int",
    "requests.Session",
    "",
    "*.",
    "Timeout Error",
    "TimeoutError, OSError",
    "3",
]


@pytest.mark.parametrize("option", ["retry_on", "no_retry_on"])
@pytest.mark.parametrize("name", NOTHING)
def test_a_name_that_names_nothing_is_refused_when_it_is_read(option: str, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{option}="):
        Policy.of({option: name})
    with pytest.raises(ConfigError, match=f"{option}="):
        Policy.of({option: (TimeoutError, "OSError", name)})


def test_a_refusal_says_what_to_write() -> None:
    with pytest.raises(ConfigError, match=r"'asyncio' has no TimoutError \(did you mean TimeoutError"):
        Policy.of({"retry_on": "asyncio.TimoutError"})
    with pytest.raises(ConfigError, match=r"no module 'nosuch'.*'\*\.Error' means any class of that name"):
        Policy.of({"retry_on": "nosuch.Error"})
    with pytest.raises(ConfigError, match="did you mean ConnectionError"):
        Policy.of({"retry_on": "ConectionError"})


def test_a_name_in_a_dag_is_refused_when_the_dag_is_read() -> None:
    with pytest.raises(ConfigError, match=r"retry_on='json\.NoSuchError'"):
        manifold.scatter(retry_on="json.NoSuchError")


def test_a_package_that_is_not_imported_yet_is_not_imported_to_check_a_name(tmp_path: Path) -> None:
    (tmp_path / "heavy").mkdir()
    (tmp_path / "heavy" / "__init__.py").write_text("import sys\nsys.exit('imported')\n")
    (tmp_path / "heavy" / "errors.py").write_text("from heavy.base import Base as Renamed\nclass Soft(Renamed): ...\n")
    code = """
        import sys
        from manifold.errors import ConfigError
        from manifold.policy import Policy
        Policy.of({'retry_on': ("heavy.errors.Soft", "heavy.errors.Renamed")})
        assert "heavy" not in sys.modules
    """
    run = [sys.executable, "-c", textwrap.dedent(code)]
    subprocess.run(run, cwd=tmp_path, check=True)


def test_a_name_that_only_an_import_shows_is_found_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made_errors.py").write_text("globals()['Odd'] = type('Odd', (Exception,), {})\n")
    monkeypatch.syspath_prepend(tmp_path)
    Policy.of({"retry_on": "made_errors.Odd"})
    with pytest.raises(ConfigError, match="'made_errors' has no Even"):
        Policy.of({"retry_on": "made_errors.Even"})
    monkeypatch.delitem(sys.modules, "made_errors")


def test_a_class_of_a_dag_file_goes_by_the_files_name() -> None:
    kind = type("Busy", (Exception,), {"__module__": "unusual_prefix_0123456789abcdef_my_dag"})
    assert error_names.is_named(kind(), ("my_dag.Busy",))


def test_options_made_of_options_are_not_checked_again() -> None:
    name = error_names.CheckedName("only.there.Error")
    assert Policy.of({"retry_on": name}).with_(item_retries=1).retry_on == ("only.there.Error",)


@pytest.mark.parametrize("engine", ["threads://1", "processes://1"])
@pytest.mark.parametrize(
    ("option", "executions"), [({"retry_on": "asyncio.TimeoutError"}, 3), ({"no_retry_on": "socket.error"}, 1)]
)
def test_an_item_is_retried_by_what_the_name_means(
    engine: str, option: dict[str, str], executions: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANIFOLD_HOME", str(tmp_path))

    def fails(_: int) -> None:
        raise TimeoutError

    results = manifold.scatter(fails, [1], engine=engine, item_retries=2, tolerate=1, **option)
    assert [failure.attempts for failure in results.failures()] == [executions]
