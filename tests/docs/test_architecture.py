"""The page on the architecture names files that are there, and leaves no room of the house out."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ET

from manifold.registry import ENGINES

from .markdown import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()
LIBRARY = ROOT / "include" / "manifold"
PATHS = sorted(set(re.findall(r"`([A-Za-z_./]*(?:/|\.py|\.md|\.svg))`", PAGE)))


def tracked(*under: str) -> list[str]:
    """The files of the project below a folder."""
    told = subprocess.run(["git", "ls-files", *under], cwd=ROOT, capture_output=True, text=True, check=True)
    return told.stdout.splitlines()


def test_every_path_on_the_page_is_there() -> None:
    assert len(PATHS) > 60
    tops = {path.partition("/")[0] for path in tracked()}
    for path in PATHS:
        top = path.partition("/")[0]
        at = ROOT if top in tops - {"deploy"} or path in ("deploy/", "demo/") else LIBRARY
        assert (at / path).exists() or (LIBRARY / path).exists(), f"the page names {path}"


def test_every_package_and_every_top_level_folder_has_its_place_on_the_page() -> None:
    packages = {path.split("/")[2] for path in tracked("include/manifold") if path.count("/") > 2}
    folders = {path.partition("/")[0] for path in tracked() if "/" in path} - {".ci"}
    for name in packages | folders - {"include"}:
        assert f"`{name}/`" in PAGE, f"the page has no {name}/"


def test_every_engine_is_in_one_family() -> None:
    table = PAGE.partition("## Families of engines")[2].partition("## Where")[0]
    named = [name for row in table.splitlines() if row.startswith("|") for name in _schemes(row)]
    assert sorted(named) == sorted(ENGINES.entries)


def test_the_picture_says_what_it_shows_and_names_files_that_are_there() -> None:
    picture = ET.parse(ROOT / "docs" / "images" / "chunk.svg").getroot()
    name = "{http://www.w3.org/2000/svg}"
    assert picture.findtext(f"{name}title")
    assert picture.findtext(f"{name}desc")
    files = " ".join(text.text or "" for text in picture.iter(f"{name}text") if text.get("class") == "file")
    for part in re.findall(r"[\w/]+", files):
        folders = [LIBRARY, LIBRARY / "coordinator", LIBRARY / "worker", LIBRARY / "engines"]
        assert any((at / part).exists() or (at / f"{part}.py").exists() for at in folders), f"the picture names {part}"


def _schemes(row: str) -> list[str]:
    return re.findall(r"`([a-z]+)`", row.rstrip("|").rpartition("|")[2])
