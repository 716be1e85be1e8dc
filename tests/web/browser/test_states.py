"""What the page shows when something is not as usual: no scatter, no answer, no right; and how it asks."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from .conftest import Visit
from .site import Site

pytestmark = pytest.mark.timeout(600)

LIST = "/plugin/scatters"
API = "**/manifold/api/**"
NOWHERE = f"{LIST}?scatter={'0' * 32}"


@pytest.fixture(scope="module")
def ended(site: Site) -> str:
    """The address of a scatter that has ended, on the page of its own."""
    run_id = site.begin(items=50, seconds=0.01)
    return f"{LIST}?scatter={site.ended(run_id).uid}"


def answered(status: int, detail: str) -> Callable[[Route], None]:
    return lambda route: route.fulfill(status=status, json={"detail": detail})


def test_the_list_says_what_a_scatter_is_while_there_is_none(site: Site, visit: Visit) -> None:
    page = visit("/")
    page.route(API, lambda route: route.fulfill(json={"scatters": [], "total": 0}))
    page.goto(site.url + LIST)
    expect(page.get_by_role("heading", name="No scatter yet")).to_be_visible()
    page.get_by_label("State").select_option("failed")
    expect(page.get_by_role("heading", name="No scatter fits this choice")).to_be_visible()
    page.get_by_role("button", name="Show all").click()
    expect(page.get_by_role("heading", name="No scatter yet")).to_be_visible()


def test_the_list_is_searched_filtered_and_sorted_in_its_address(ended: str, site: Site, visit: Visit) -> None:
    page = visit(LIST)
    rows = page.get_by_role("row").filter(has_text="render")
    expect(rows.first).to_be_visible()
    page.get_by_label("Search by DAG, run, task or name").fill("nothing is called that")
    expect(page.get_by_role("heading", name="No scatter fits this choice")).to_be_visible()
    page.get_by_label("Search by DAG, run, task or name").fill("invoices")
    page.get_by_label("State").select_option("succeeded")
    expect(rows.first).to_be_visible()
    page.get_by_role("button", name="Items").click()
    expect(page.get_by_role("columnheader", name="Items")).to_have_attribute("aria-sort", "descending")
    expect(page).to_have_url(site.url + LIST + "?search=invoices&state=succeeded&sort=-failed")
    page.reload()
    expect(rows.first).to_be_visible()
    expect(page.get_by_label("State")).to_have_value("succeeded")


def test_a_scatter_that_is_not_there_is_said_to_be_so(visit: Visit) -> None:
    page = visit(NOWHERE)
    expect(page.get_by_role("heading", name="There is no such scatter")).to_be_visible()


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (401, "Your login has ended"),
        (403, "You may not see this"),
        (500, "Something went wrong"),
        (503, "Manifold cannot reach its ledger"),
    ],
)
def test_each_refusal_has_words_of_its_own(site: Site, visit: Visit, status: int, title: str) -> None:
    page = visit("/")
    page.route(API, answered(status, "the reason, as the API says it."))
    page.goto(site.url + NOWHERE)
    expect(page.get_by_role("alert").get_by_role("heading", name=title)).to_be_visible()
    expect(page.get_by_text("the reason, as the API says it.")).to_be_visible()


def test_whoever_is_not_logged_in_is_asked_to_and_comes_back(ended: str, site: Site, visit: Visit) -> None:
    page = visit(ended, "stranger")
    page.wait_for_url("**/login**")
    page.fill("input[name=username]", "viewer")
    page.fill("input[name=password]", site.passwords["viewer"])
    page.click("button[type=submit]")
    expect(page.get_by_role("region", name="Progress")).to_be_visible()
    expect(page).to_have_url(site.url + ended)


def test_old_figures_stay_while_nobody_answers(ended: str, visit: Visit) -> None:
    page = visit(LIST)
    rows = page.get_by_role("row").filter(has_text="render")
    expect(rows.first).to_be_visible()
    page.route(API, lambda route: route.abort())
    expect(page.get_by_text("No answer came from Airflow's API server.")).to_be_visible()
    expect(rows.first).to_be_visible()
    page.unroute(API)
    expect(page.get_by_text("No answer came from Airflow's API server.")).to_be_hidden()


def asked(page: Page, seconds: float) -> int:
    """How often the page asks the API in that time."""
    calls: list[str] = []

    def note(route: Route) -> None:
        calls.append(route.request.url)
        route.continue_()

    page.route(API, note)
    page.wait_for_timeout(seconds * 1000)
    page.unroute(API)
    return len(calls)


def hide(page: Page, hidden: bool) -> None:
    """Tell the page that its tab is out of sight: headless Chromium shows every tab."""
    page.evaluate(
        "hidden => { Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


def test_the_list_is_asked_for_with_its_tag_and_not_while_the_tab_is_hidden(ended: str, visit: Visit) -> None:
    page = visit(LIST)
    expect(page.get_by_role("row").filter(has_text="render").first).to_be_visible()
    with page.expect_response(lambda answer: "/manifold/api/scatters" in answer.url) as answer:
        pass
    assert answer.value.request.headers["if-none-match"]
    hide(page, True)
    page.wait_for_timeout(1_000)  # what was asked already may come
    assert asked(page, 5) == 0
    hide(page, False)
    assert asked(page, 5) > 0


def test_a_scatter_that_has_ended_is_not_asked_for_again(ended: str, visit: Visit) -> None:
    page = visit(ended)
    expect(page.get_by_role("region", name="Timeline by worker").get_by_role("img", name="Timeline of")).to_be_visible()
    page.wait_for_timeout(3_000)  # the answers that were on their way
    assert asked(page, 6) == 0


def test_marks_of_the_plots_are_read_out_with_the_keyboard(ended: str, visit: Visit) -> None:
    page = visit(ended)
    for region, key, told in (
        ("Map of the input", "ArrowRight", "Item 0: "),
        ("Timeline by worker", "ArrowRight", "committed"),
        ("Rate", "End", "/s, "),
    ):
        part = page.get_by_role("region", name=region, exact=True)
        part.get_by_role("img").first.focus()
        page.keyboard.press(key)
        expect(part.locator("[aria-live]")).to_contain_text(told)


def test_a_retry_that_is_refused_says_why_and_changes_nothing(ended: str, visit: Visit) -> None:
    page = visit(ended)
    page.route("**/redrive", answered(409, "the task runs already"))
    page.get_by_role("button", name="Retry failed items").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Retry 3 items").click()
    expect(page.get_by_role("status").filter(has_text="the task runs already")).to_be_visible()


def test_picked_items_are_retried_by_their_positions(ended: str, visit: Visit) -> None:
    page = visit(ended)
    page.get_by_role("checkbox", name="Item 20").check(force=True)
    page.get_by_role("button", name="Retry 1 item", exact=True).click()
    page.route("**/redrive", lambda route: route.fulfill(json={"items": 1, "cleared": ["render", "post"]}))
    with page.expect_request("**/redrive") as sent:
        page.get_by_role("alertdialog").get_by_role("button", name="Retry 1 item").click()
    assert json.loads(sent.value.post_data or "") == {"positions": [20]}
    expect(page.get_by_text("1 item will run again. Cleared in Airflow: render, post.")).to_be_visible()


def test_a_long_unbroken_message_pushes_no_column_out_of_sight(ended: str, site: Site, visit: Visit) -> None:
    def lengthened(route: Route) -> None:
        answer = route.fetch()
        if answer.status != 200:
            route.fulfill(response=answer)
            return
        told = answer.json()
        for failure in told["failures"]:
            failure |= dict.fromkeys(("key", "type", "message", "item_repr", "worker"), 40 * "unbroken")
        route.fulfill(response=answer, json=told)

    page = visit("/")
    page.route("**/failures?**", lengthened)
    page.goto(site.url + ended)
    items = page.get_by_role("region", name="Failed items")
    expect(items.get_by_role("row").filter(has_text="unbroken").first).to_be_visible()
    items.scroll_into_view_if_needed()
    for name in ("Item", "Error", "Value", "Attempts", "Worker"):
        expect(items.get_by_role("columnheader", name=name, exact=True)).to_be_in_viewport(ratio=0.9)
    assert items.get_by_role("table").locator("..").evaluate("one => one.scrollWidth <= one.clientWidth")


def test_scatters_of_the_deployment_itself_are_shown_on_request_and_it_stands_in_the_address(
    ended: str, site: Site, visit: Visit
) -> None:
    page = visit(LIST)
    expect(page.get_by_role("row").filter(has_text="render").first).to_be_visible()
    box = page.get_by_role("checkbox", name="Scatters of the deployment itself")
    expect(box).not_to_be_checked()
    with page.expect_request(lambda sent: "/manifold/api/scatters?" in sent.url and "system=true" in sent.url):
        box.check(force=True)
    expect(page).to_have_url(f"{site.url}{LIST}?system=true")
    page.reload()
    expect(box).to_be_checked()
    with page.expect_request(lambda sent: "/manifold/api/scatters?" in sent.url and "system" not in sent.url):
        box.uncheck(force=True)
    expect(page).to_have_url(f"{site.url}{LIST}")


def test_a_scatter_whose_run_was_deleted_says_so_and_leads_nowhere(ended: str, site: Site, visit: Visit) -> None:
    def deleted(route: Route) -> None:
        answer = route.fetch()
        if answer.status != 200:
            route.fulfill(response=answer)
            return
        told = answer.json()
        for one in told.get("scatters", [told] if "uid" in told else []):
            one |= {"run_deleted": True, "message": "its DAG run was deleted in Airflow", "state": "stopped"}
        route.fulfill(response=answer, json=told)

    page = visit("/")
    for path in ("scatters?**", "scatters/*"):
        page.route(f"**/manifold/api/{path}", deleted)
    page.goto(site.url + LIST)
    row = page.get_by_role("row").filter(has_text="render").first
    expect(row).to_contain_text("the DAG run was deleted")
    expect(row.get_by_role("link", name="Task instance of")).to_have_count(0)
    page.goto(site.url + ended)
    told = page.get_by_role("status").filter(has_text="Its DAG run was deleted in Airflow.")
    expect(told).to_contain_text("its results stay until manifold gc collects them")
    expect(page.get_by_text("The next try continues")).to_have_count(0)
    expect(page.get_by_text("so nothing there can run it again")).to_be_visible()
    expect(page.get_by_role("button", name="Continue")).to_have_count(0)
    page.unroute_all(behavior="ignoreErrors")
