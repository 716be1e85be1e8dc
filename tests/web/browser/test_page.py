"""The page in a browser, on a whole running stack: what people see, and what becomes of what they press."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

from manifold.testing.engines import until

from .conftest import Shoot, Visit
from .site import Site

pytestmark = pytest.mark.timeout(600)

LIST = "/plugin/scatters"
SOON = 90_000  # ms; what Airflow or a worker has to do first
# What fades in has other colours until it is there. A spinner never is.
_STILL = """() => Promise.allSettled(
    document.getAnimations()
        .filter((one) => one.effect.getComputedTiming().endTime < Infinity)
        .map((one) => one.finished)
)"""


@pytest.fixture(scope="module")
def long(site: Site) -> Iterator[str]:
    """The run of a scatter that does not end during these tests."""
    run_id = site.begin(items=100_000, seconds=0.05)
    yield run_id
    site.stack.api.give_up("invoices", run_id)


@pytest.fixture(scope="module")
def over(site: Site) -> str:
    """The run of a scatter that has succeeded, 12 failed items tolerated."""
    run_id = site.begin(items=200, seconds=0.01)
    assert site.ended(run_id).n_failed == 12
    return run_id


def done(page: Page) -> int:
    """How many items have an outcome, as the page says."""
    told = page.get_by_role("region", name="Progress").get_by_text(re.compile(r"^[\d,]+ of (about )?[\d,]+ items"))
    return int(told.inner_text().split()[0].replace(",", ""))


def advances(page: Page) -> None:
    before = done(page)
    until(lambda: done(page) > before, "progress on the page", 90)


def violations(page: Page, within: str = ".manifold") -> list[str]:
    """What axe finds that keeps people out."""
    page.evaluate(_STILL)
    found = Axe().run(page, context=within).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {[node['html'][:160] for node in one['nodes'][:3]]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def test_a_scatter_is_found_in_the_list_and_watched_as_it_advances(
    long: str, over: str, site: Site, visit: Visit, shoot: Shoot
) -> None:
    page = visit(LIST)
    row = page.get_by_role("row").filter(has_text=long)
    expect(row).to_contain_text("running")
    expect(page.get_by_role("row").filter(has_text=over)).to_contain_text("12 failed")
    shoot(page, "list")
    row.get_by_role("link", name="invoices / render", exact=True).click()
    expect(page.get_by_role("heading", name="invoices / render")).to_be_visible()
    advances(page)
    page.get_by_role("link", name=long).click()
    expect(page).to_have_url(re.compile("/dags/invoices/runs/.*/tasks/render"))


def test_a_scatter_is_paused_and_resumed(long: str, site: Site, visit: Visit) -> None:
    page = visit(site.tab(long))
    advances(page)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused by admin.")).to_be_visible(timeout=SOON)
    row = site.scatter(long)
    assert row is not None
    until(lambda: not site.ledger.pending_controls(row.uid), "a coordinator that takes note", 20)
    # What was sent before the pause comes to its end; then nothing moves.
    until(lambda: tally(page, "Running") == 0, "the end of what was sent", 90)
    before = done(page)
    page.wait_for_timeout(5_000)
    assert done(page) == before
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("Paused by admin.")).to_be_hidden(timeout=SOON)
    advances(page)


def tally(page: Page, outcome: str) -> int:
    """A number of the account."""
    told = page.locator("dl > div").filter(has=page.locator("dt", has_text=outcome)).locator("dd > span").first
    return int(told.inner_text().replace(",", ""))


def test_settings_are_changed_while_it_runs(long: str, site: Site, visit: Visit) -> None:
    page = visit(site.tab(long))
    page.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Change settings").click()
    form = page.get_by_role("dialog", name="Change settings")
    form.get_by_label("Tolerated failures").fill("many")
    expect(form.get_by_role("button", name="Change")).to_be_disabled()
    form.get_by_label("Tolerated failures").fill("30%")
    form.get_by_role("button", name="Change").click()
    expect(form).to_be_hidden()
    expect(page.get_by_text("30%", exact=True)).to_be_visible(timeout=SOON)


def test_a_killed_worker_goes_grey(long: str, site: Site, visit: Visit, shoot: Shoot) -> None:
    page = visit(site.tab(long), height=1400)
    workers = page.get_by_role("region", name="Workers", exact=True)
    victim = workers.locator("tr[data-alive=true]").filter(has_not_text="idle").first
    victim.wait_for()
    name, pid = victim.locator("td").nth(0).inner_text(), int(victim.locator("td").nth(2).inner_text())
    os.kill(pid, signal.SIGKILL)
    gone = workers.locator("tr[data-alive=false]").filter(has_text=name)
    expect(gone).to_contain_text("gone", timeout=SOON)
    advances(page)
    shoot(page, "scatter")
    page.get_by_role("img", name=re.compile("^Timeline of")).wait_for()
    workers.evaluate("one => one.scrollIntoView()")
    shoot(page, "workers")


def test_failed_items_are_seen_with_their_traceback_and_log_lines(
    over: str, site: Site, visit: Visit, shoot: Shoot
) -> None:
    page = visit(site.tab(over))
    errors = page.get_by_role("region", name="Errors")
    expect(errors.get_by_role("listitem")).to_have_count(2)
    errors.get_by_role("button", name="Traceback").first.click()
    expect(errors.get_by_role("region", name=re.compile("Traceback of"))).to_contain_text("invoices.py")
    errors.get_by_role("listitem").filter(has_text="TimeoutError").get_by_role("button", name="Show items").click()
    items = page.get_by_role("region", name="Failed items")
    expect(items.get_by_role("row").filter(has_text="TimeoutError")).to_have_count(6)
    items.get_by_label("Search failed items").fill("INV-000037")
    expect(items.get_by_role("row").filter(has_text="TimeoutError")).to_have_count(1)
    items.get_by_role("button", name="37", exact=True).click()
    story = page.get_by_role("dialog", name="Item 37")
    expect(story.get_by_role("region", name="Traceback")).to_contain_text("TimeoutError: no answer from the renderer")
    expect(story.get_by_role("region", name="Log lines")).to_contain_text("the renderer answered 503, giving up")
    shoot(page, "item")
    page.keyboard.press("Escape")
    expect(story).to_be_hidden()
    with page.expect_download() as download:
        items.get_by_role("link", name="Export as JSON Lines").click()
    assert len(download.value.path().read_text().splitlines()) == 6


def test_a_viewer_sees_all_and_may_not_steer(over: str, long: str, site: Site, visit: Visit) -> None:
    page = visit(site.tab(over), "viewer")
    expect(page.get_by_text("You may look, but not steer")).to_be_visible()
    expect(page.get_by_role("region", name="Failed items").get_by_role("row")).to_have_count(11)
    expect(page.get_by_role("button", name=re.compile("Retry"))).to_have_count(0)
    expect(page.locator(".manifold").get_by_role("checkbox")).to_have_count(0)
    page = visit(site.tab(long), "viewer")
    expect(page.get_by_text("You may look, but not steer")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("Pause|Resume|More actions"))).to_have_count(0)


def test_failed_items_are_retried_one_kind_then_all(
    over: str, site: Site, visit: Visit, shoot: Shoot, request: pytest.FixtureRequest
) -> None:
    page = visit(site.tab(over))
    site.fixed.touch()
    request.addfinalizer(site.fixed.unlink)  # what others scatter fails as before
    kind = page.get_by_role("region", name="Errors").get_by_role("listitem").filter(has_text="ValueError")
    kind.get_by_role("button", name="Retry 6").click()
    asked = page.get_by_role("alertdialog")
    expect(asked).to_contain_text("188 items that succeeded will not run again. 6 items stay failed.")
    shoot(page, "retry")
    asked.get_by_role("button", name="Retry 6 items").click()
    expect(page.get_by_text("6 items will run again")).to_be_visible()
    until(lambda: tally(page, "Failed") == 6, "the end of the retry, on the page", 120)
    site.ended(over)
    page.get_by_role("button", name="Retry failed items").click(timeout=SOON)
    page.get_by_role("alertdialog").get_by_role("button", name="Retry 6 items").click()
    until(lambda: tally(page, "Succeeded") == 200, "the end of the retry, on the page", 120)
    expect(page.get_by_role("region", name="Errors")).to_have_count(0)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_keeps_people_out(long: str, over: str, site: Site, visit: Visit, shoot: Shoot, dark: bool) -> None:
    page = visit(LIST, dark=dark)
    page.get_by_role("row").filter(has_text=long).wait_for()
    assert violations(page) == []
    page = visit(site.tab(long), dark=dark)
    page.get_by_role("img", name=re.compile("^Timeline of")).wait_for()
    page.get_by_role("img", name=re.compile("cells: ")).wait_for()
    assert violations(page) == []
    page.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Cancel").click()
    page.get_by_role("alertdialog").wait_for()
    assert violations(page, "[role=alertdialog]") == []
    page.keyboard.press("Escape")
    if dark:
        shoot(page, "dark")


@pytest.mark.parametrize("path", ["list", "scatter"])
def test_a_narrow_screen_shows_all_without_scrolling_aside(
    long: str, site: Site, visit: Visit, shoot: Shoot, path: str
) -> None:
    row = site.scatter(long)
    assert row is not None
    # Airflow's own tabs are no narrower than its grid; the page of its own has all the width there is.
    page = visit(LIST if path == "list" else f"{LIST}?scatter={row.uid}", width=375, height=800)
    (
        page.get_by_role("row").filter(has_text=long) if path == "list" else page.get_by_text("Map of the input")
    ).wait_for()
    ours = page.locator(".manifold")
    assert ours.evaluate("one => one.scrollWidth <= one.clientWidth")
    box = ours.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 375
    if path == "list":
        table = page.get_by_role("table").locator("..")
        assert table.evaluate("one => one.scrollWidth <= one.clientWidth")
    else:
        shoot(page, "narrow")


def test_the_tab_of_a_run_shows_its_only_scatter(over: str, site: Site, visit: Visit) -> None:
    page = visit(site.tab(over, task=False))
    expect(page.get_by_role("heading", name="invoices / render")).to_be_visible()


def test_a_scatter_is_cancelled_after_a_question(long: str, site: Site, visit: Visit) -> None:
    page = visit(site.tab(long))
    page.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Cancel").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Back").click()
    advances(page)
    page.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Cancel").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Cancel the scatter").click()
    # The notice, and the row of the try that it ended.
    expect(page.get_by_text(re.compile("^cancelled by admin")).first).to_be_visible(timeout=SOON)
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
