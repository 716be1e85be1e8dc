"""Every command and every Python block of the documents does what the page says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .markdown import PAGES, Block, blocks, fits

DAGS = {one.how.removeprefix("dag "): one for page in PAGES for one in blocks(page) if one.how.startswith("dag ")}
LOGS = {one.how.removeprefix("log of "): one for page in PAGES for one in blocks(page) if one.how.startswith("log of ")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run_and_print_what_it_shows(page: Path, tmp_path: Path, env: dict[str, str]) -> None:
    printed: str | None = None
    for block in blocks(page):
        if block.how.startswith("file "):
            (tmp_path / block.how.removeprefix("file ")).write_text(block.text)
            printed = None
        elif block.how == "" and block.language in ("python", "bash"):
            printed = run(block, tmp_path, env)
        elif block.how == "" and block.language == "text" and printed is not None:
            assert fits(block.text, printed), f"{block} shows\n{block.text}\nand this was printed:\n{printed}"
            printed = None
        else:
            printed = None


@pytest.mark.parametrize("dag_id", DAGS)
def test_the_dags_of_the_documents_run(dag_id: str, airflow_env: dict[str, str], data: Path) -> None:
    block = DAGS[dag_id]
    folder = Path(airflow_env["AIRFLOW__CORE__DAGS_FOLDER"])
    (folder / f"{dag_id}.py").write_text(block.text.replace("/data/", f"{data}/"))
    command = [sys.executable, "-m", "airflow", "dags", "test", dag_id]
    told = subprocess.run(command, env=airflow_env, capture_output=True, text=True, timeout=200, check=False)
    assert told.returncode == 0, f"{block}:\n{told.stdout[-5000:]}{told.stderr[-5000:]}"
    assert "999 customers" in told.stdout
    if dag_id in LOGS:
        for line in LOGS[dag_id].text.splitlines():
            assert fits(f"…{line}…", told.stdout), f"{LOGS[dag_id]}: {line}\nis not in\n{told.stdout[-8000:]}"


def test_every_block_says_what_is_to_be_done_with_it() -> None:
    for page in PAGES:
        for block in blocks(page):
            kind = block.how.partition(" ")[0]
            assert block.language in ("python", "bash", "text"), f"{block} is in {block.language or 'no language'}"
            assert kind in ("", "names", "file", "dag", "log"), f"{block}: nobody knows what {block.how!r} means"


def run(block: Block, folder: Path, env: dict[str, str]) -> str:
    """What the block printed on stdout, once it has ended well."""
    if block.language == "python":
        script = folder / f"block{block.line}.py"
        script.write_text(block.text)
        command = [sys.executable, str(script)]
    else:
        command = ["bash", "-e", "-c", block.text]
    told = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 0, f"{block}:\n{told.stdout}{told.stderr}"
    return told.stdout
