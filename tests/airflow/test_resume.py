"""What a try does, as a table: the cookie, the ledger's row and the task instance decide it together."""

from __future__ import annotations

from typing import Any

import pytest

from manifold.airflow import ending
from manifold.airflow.resume import KEY, Cookie, Mode, Resume, decide, stays_cancelled
from manifold.protocol.records import ScatterRow, ScatterState

UID = "a" * 32


def row(state: ScatterState, n_failed: int = 0) -> ScatterRow:
    return ScatterRow(
        uid=UID,
        name="d/r/t/-1",
        gen=1,
        state=state,
        epoch=1,
        owner=None,
        claim_no=1,
        lease_until=None,
        expected=None,
        total=10,
        n_ok=7 - n_failed,
        n_failed=n_failed,
        n_skipped=0,
        seq=3,
        engine="threads://1",
        source_kind="range",
        source_fp="f",
        codec="pickle",
        reduce_digest=None,
        consts_digest=None,
        policy={},
        store_url="",
        store_uuid="s",
        key_id="k",
        fn_name="f",
        fn_key=None,
        fn_digest=None,
        created_at=0.0,
        ended_at=None,
        message=None,
    )


RETRY = Cookie(UID, 2)  # seen with max_tries=2, as the task instance has now
CLEAR = Cookie(UID, 0)  # seen with max_tries=0, raised since

TABLE: list[tuple[str, Cookie | None, ScatterRow | None, Resume, bool, bool, Mode]] = [
    ("no cookie", None, None, "auto", False, False, "fresh"),
    ("no cookie, always", None, None, "always", False, False, "fresh"),
    ("no row", RETRY, None, "auto", False, False, "fresh"),
    ("crashed", RETRY, row("running"), "auto", False, False, "continue"),
    ("crashed, then cleared", CLEAR, row("running"), "auto", False, False, "continue"),
    ("failed, then cleared", CLEAR, row("failed", 2), "auto", False, False, "continue"),
    ("cancelled, then cleared", CLEAR, row("cancelled"), "auto", False, False, "continue"),
    ("crashed, never", RETRY, row("running"), "never", False, False, "fresh"),
    ("crashed, code changed", RETRY, row("running"), "auto", False, True, "fresh"),
    ("closed, crashed", RETRY, row("succeeded"), "auto", False, False, "reuse"),
    ("closed with failures, crashed", RETRY, row("succeeded", 2), "auto", False, False, "reuse"),
    ("closed, crashed, always", RETRY, row("succeeded", 2), "always", False, False, "reuse"),
    ("closed, crashed, never", RETRY, row("succeeded"), "never", False, False, "fresh"),
    ("closed, cleared", CLEAR, row("succeeded"), "auto", False, False, "fresh"),
    ("closed, cleared, always", CLEAR, row("succeeded"), "always", False, False, "reuse"),
    ("closed with failures, cleared, always", CLEAR, row("succeeded", 2), "always", False, False, "redrive"),
    ("closed, redrive wanted", CLEAR, row("succeeded", 2), "auto", True, False, "redrive"),
    ("failed, redrive wanted", CLEAR, row("failed", 2), "auto", True, False, "redrive"),
    ("failed, never, redrive wanted", CLEAR, row("failed", 2), "never", True, False, "redrive"),
    ("failed, code changed, redrive wanted", CLEAR, row("failed", 2), "auto", True, True, "redrive"),
]


@pytest.mark.parametrize(
    ("cookie", "found", "resume", "redrive", "outdated", "mode"),
    [line[1:] for line in TABLE],
    ids=[line[0] for line in TABLE],
)
def test_what_a_try_does(
    cookie: Cookie | None, found: ScatterRow | None, resume: Resume, redrive: bool, outdated: bool, mode: Mode
) -> None:
    decision = decide(cookie, found, max_tries=2, resume=resume, again="failed" if redrive else None, outdated=outdated)
    assert decision.mode == mode
    if mode == "fresh":
        assert decision.uid != UID, "what starts from scratch must never find what is there"
        assert len(decision.uid) == 32
    else:
        assert decision.uid == UID


@pytest.mark.parametrize("cookie", [RETRY, CLEAR])
def test_results_that_are_gone_are_made_again_and_the_others_kept(cookie: Cookie) -> None:
    decision = decide(cookie, row("succeeded"), max_tries=2, lost=True)
    assert (decision.mode, decision.uid) == ("continue", UID)


@pytest.mark.parametrize("state", ["running", "failed", "cancelled", "succeeded"])
@pytest.mark.parametrize(("again", "mode"), [("failed", "redrive"), ("missing", "continue"), ("everything", "fresh")])
def test_what_somebody_asked_to_run_again_is_what_the_try_does(state: Any, again: Any, mode: str) -> None:
    decision = decide(CLEAR, row(state, 2), max_tries=2, again=again)
    assert decision.mode == mode
    assert (decision.uid == UID) is (again != "everything")
    assert "as somebody asked" in decision.why


@pytest.mark.parametrize(
    ("cookie", "state", "again", "stays"),
    [
        (RETRY, "cancelled", None, True),
        (CLEAR, "cancelled", None, False),
        (RETRY, "cancelled", "missing", False),
        (RETRY, "running", None, False),
        (RETRY, "failed", None, False),
        (None, "cancelled", None, False),
    ],
)
def test_a_cancel_holds_against_airflows_own_retries(cookie: Any, state: Any, again: Any, stays: bool) -> None:
    assert stays_cancelled(cookie, row(state), max_tries=2, again=again) is stays


@pytest.mark.parametrize(
    ("state", "retries", "follows"),
    [
        ("running", True, True),
        ("running", False, False),
        ("restarting", False, True),
        ("failed", True, False),
        ("success", True, False),
        (None, True, False),
    ],
)
def test_what_workers_have_begun_is_left_to_a_try_that_airflow_starts_by_itself(
    monkeypatch: pytest.MonkeyPatch, state: str | None, retries: bool, follows: bool
) -> None:
    monkeypatch.setattr(ending, "state_in_airflow", lambda _: state)
    monkeypatch.setattr(ending, "may_retry", lambda _: retries)
    context: Any = {"ti": None}
    assert ending.goes_on(context) is follows


def test_a_try_that_was_drained_goes_on_whatever_tries_do_otherwise() -> None:
    assert decide(RETRY, row("running"), max_tries=2, resume="never", drained=True).mode == "continue"


def test_two_fresh_starts_never_have_the_same_identity() -> None:
    assert decide(None, None, max_tries=0).uid != decide(None, None, max_tries=0).uid


def test_the_reason_says_how_far_the_try_before_came_and_how_it_ended() -> None:
    assert "7 of 10 items" in decide(RETRY, row("running"), max_tries=2).why
    assert "cut off" in decide(RETRY, row("running"), max_tries=2).why
    assert "the try before cancelled" in decide(CLEAR, row("cancelled"), max_tries=2).why


class Shelf(dict[str, Any]):
    """A task state store, as far as the cookie uses it."""

    def set(self, key: str, value: Any, *, retention: object) -> None:
        self[key] = value


def test_a_cookie_comes_back_as_it_was_written() -> None:
    shelf = Shelf()
    RETRY.write(shelf, None)
    assert Cookie.read(shelf) == RETRY


@pytest.mark.parametrize(
    "edited", [None, "text", {}, {"uid": 5, "max_tries": 1}, {"uid": "a", "max_tries": "x"}, {"uid": "a"}, []]
)
def test_a_cookie_that_somebody_edited_beyond_use_is_none(edited: object) -> None:
    assert Cookie.read(Shelf({KEY: edited})) is None
