"""What `make wheel` builds is the whole package, and nothing but the package."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import Parser
from importlib.metadata import distributions, entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one that `make wheel` has just built."""
    folder = tmp_path_factory.mktemp("dist")
    told = subprocess.run(
        ["make", "wheel", f"DIST={folder}"], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
    (path,) = folder.glob("*.whl")
    assert f"built {path}" in told.stdout
    return path


@pytest.fixture(scope="session")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that has this wheel, and no checkout."""
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=200)
    pip: list[str | Path] = [
        folder / "bin" / "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-index",
        wheel,
    ]
    subprocess.run(pip, check=True, timeout=200)
    return folder


def run(fresh: Path, *command: str | Path) -> str:
    """What a command of that environment prints; what manifold needs is borrowed from here, without the checkout."""
    env = os.environ | {"PYTHONPATH": sysconfig.get_path("purelib"), "MANIFOLD_HOME": str(fresh / "home")}
    told = subprocess.run(
        [fresh / "bin" / command[0], *command[1:]],
        cwd=fresh,
        env=env,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def test_an_installed_wheel_is_imported_and_scatters(fresh: Path) -> None:
    code = (
        "import manifold, math\n"
        "print(manifold.__file__)\n"
        "print(sum(manifold.scatter(math.isqrt, range(100), engine='threads://2')))\n"
    )
    where, answer = run(fresh, "python", "-c", code).splitlines()
    assert Path(where).is_relative_to(fresh)
    assert answer == "615"


def test_an_installed_wheel_has_its_program(fresh: Path) -> None:
    assert run(fresh, "manifold", "--version").strip() == "0.1.0"


def test_an_installed_wheel_registers_what_the_checkout_registers(fresh: Path) -> None:
    (site,) = fresh.glob("lib/python*/site-packages")
    (dist,) = [one for one in distributions(path=[str(site)]) if one.name == "airflow-manifold"]
    built = {(point.group, point.name, point.value) for point in dist.entry_points}
    groups = ("apache_airflow_provider", "airflow.plugins", "console_scripts")
    known = {(one.group, one.name, one.value) for group in groups for one in entry_points(group=group)}
    assert built == {point for point in known if point[2].startswith("manifold.")}
    assert {group for group, _, _ in built} == set(groups)


def test_the_wheel_has_every_module_and_the_page_but_not_its_sources(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "include" / "manifold"
    modules = {f"manifold/{path.relative_to(package)}" for path in package.rglob("*.py")}
    assert modules <= names
    assert {"manifold/py.typed", "manifold/web/static/main.js"} <= names
    assert not [name for name in names if name.startswith("manifold/web/ui/")]
    assert not [name for name in names if name.split("/")[0] not in ("manifold", "airflow_manifold-0.1.0.dist-info")]
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel_says_what_it_needs_and_which_extras_there_are(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    assert {"airflow", "celery", "postgres"} <= set(metadata.get_all("Provides-Extra") or [])
    assert metadata["Requires-Python"] == "<3.14,>=3.11"
    assert "Manifold runs one function over many items" in str(metadata.get_payload())
