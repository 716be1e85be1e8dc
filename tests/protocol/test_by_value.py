"""Which modules travel by value, and that they run where nobody has them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import cloudpickle
import pytest

from manifold.protocol import envelope
from manifold.protocol.by_value import by_value, script_roots, shipped


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a helper module, a package without `__init__`, and a virtual environment inside it."""
    files = {
        "shipped_helper.py": "import logging\nlog = logging.getLogger()\ndef twice(n): return n+n\nclass Box: n = 7\n",
        "shipped_plain/inner.py": "def thrice(n): return 3 * n\n",
        "venv/site-packages/shipped_installed.py": "def one(): return 1\n",
        "shipped_job.py": """
            import shipped_helper
            from shipped_helper import twice, Box
            import shipped_plain.inner
            def run(n):
                return shipped_helper.twice(n) + twice(n) + Box.n + shipped_plain.inner.thrice(n)
            """,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path / "venv/site-packages"))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("shipped_")]:
        del sys.modules[name]


def load(*names: str) -> list[ModuleType]:
    return [import_module(name) for name in names]


def names(root: Path) -> set[str]:
    return {module.__name__ for module in shipped([root])}


def test_a_function_runs_where_its_helper_modules_are_not(project: Path) -> None:
    (job,) = load("shipped_job")
    with by_value([project]):
        packed = envelope.dumps_by_value(job.run).hex()
    script = "import sys; from manifold.protocol import envelope; print(envelope.loads(bytes.fromhex(sys.argv[1]))(1))"
    told = subprocess.run([sys.executable, "-c", script, packed], capture_output=True, text=True, check=False, cwd="/")
    assert (told.stdout, told.stderr) == ("14\n", "")


def test_modules_and_packages_of_the_folder_count(project: Path) -> None:
    load("shipped_job")
    assert names(project) == {"shipped_job", "shipped_helper", "shipped_plain", "shipped_plain.inner"}


def test_what_is_installed_below_the_folder_does_not(project: Path) -> None:
    load("shipped_installed")
    assert names(project) == set()


def test_the_standard_library_and_manifold_itself_never_do() -> None:
    import manifold

    above = Path(manifold.__file__).parents[2]
    found = {module.__name__.partition(".")[0] for module in shipped([above, sys.prefix, sys.base_prefix])}
    assert "manifold" not in found
    assert not found & {"json", "logging", "cloudpickle", "pytest"}


def test_the_root_folder_is_no_authors_folder(project: Path) -> None:
    load("shipped_helper")
    assert shipped(["/"]) == []


def test_afterwards_all_is_as_it_was(project: Path) -> None:
    (helper,) = load("shipped_helper")
    before = cloudpickle.list_registry_pickle_by_value()
    with by_value([project]):
        with by_value([project]):
            assert helper.__name__ in cloudpickle.list_registry_pickle_by_value()
        assert helper.__name__ in cloudpickle.list_registry_pickle_by_value(), "the outer block is still open"
    assert cloudpickle.list_registry_pickle_by_value() == before


def test_a_link_to_the_folder_is_the_folder(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    link = tmp_path_factory.mktemp("links") / "project"
    link.symlink_to(project)
    load("shipped_helper")
    assert names(link) == {"shipped_helper"}


def test_a_scripts_own_folder_is_the_root_of_plain_python(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("from manifold.protocol.by_value import script_roots\nprint(*script_roots())\n")
    told = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert told == str(tmp_path.resolve())
    assert script_roots()
