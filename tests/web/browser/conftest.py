"""A browser, and people who are logged in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from .site import Site, running

CHROMIUM = Path("/usr/bin/chromium")
# Chromium calls home at each start; these keep it on this machine.
_QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]

expect.set_options(timeout=60_000)  # Airflow loads much before it loads the page, and the machine may be busy

Visit = Callable[..., Page]
Shoot = Callable[[Page, str], None]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        missing = f"no {CHROMIUM}: apt-get install chromium"
        if {"chromium", "all"} & {*os.environ.get("MANIFOLD_REQUIRE", "").split()}:
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as driver:
        # As root it has no sandbox; what it opens is this test's own server.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", *_QUIET])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def site(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture(scope="package")
def people(site: Site, chromium: Browser) -> Iterator[dict[str, BrowserContext]]:
    """A browser's profile for each person, logged in by the form. Airflow's own scripts are fetched once for each."""
    found = {}
    for person, password in site.passwords.items():
        found[person] = chromium.new_context()
        page = found[person].new_page()
        page.goto(site.url)
        page.fill("input[name=username]", person)
        page.fill("input[name=password]", password)
        page.click("button[type=submit]")
        page.get_by_role("link", name="Dags", exact=True).wait_for()
        page.close()
    yield found
    for context in found.values():
        context.close()


@pytest.fixture
def visit(site: Site, chromium: Browser, people: dict[str, BrowserContext]) -> Iterator[Visit]:
    """Opens a path as somebody, or as a stranger; a script of the page that fails, fails the test."""
    pages: list[Page] = []
    errors: list[str] = []

    def visiting(path: str, who: str = "admin", *, dark: bool = False, width: int = 1440, height: int = 900) -> Page:
        page = chromium.new_page() if who == "stranger" else people[who].new_page()
        pages.append(page)
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="dark" if dark else "light", reduced_motion="reduce")
        page.set_default_timeout(90_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(site.url + path)
        return page

    yield visiting
    for page in pages:
        page.close()
    assert not errors


@pytest.fixture
def shoot() -> Shoot:
    """Takes a picture for the documents, if `MANIFOLD_SHOTS` names a folder: otherwise a test changes no file."""
    folder = os.environ.get("MANIFOLD_SHOTS")

    def shooting(page: Page, name: str) -> None:
        if folder:
            page.mouse.move(0, 0)
            page.screenshot(path=Path(folder) / f"page-{name}.png", animations="disabled")

    return shooting
