"""Whatever a parameter or a body holds, the answer is not a fault of the server, and a sentence where it is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from starlette.types import Message

from manifold.ledger import Ledger
from manifold.protocol.records import Failure
from manifold.web import deployment
from manifold.web.guard import Guard
from tests.ledger import made
from tests.web.conftest import API, Login, TestClient, airflow_scatter, get

pytestmark = [pytest.mark.usefixtures("dags"), pytest.mark.filterwarnings("default")]

# As they stand in a URL.
NASTY = (
    *("%00", "a%00b", "%ED%B3%A9", "%C3%28", "%FF", "%F4%90%80%80", "", "%20", "%E2%80%AE", "%F0%9F%98%80", "%C2%B2"),
    *("0", "-0", "-1", "-2", "1.5", "1e5", "1_000", "%D9%A3", str(2**31), str(2**53), str(2**63)),
    *(str(2**64), str(-(2**63)), "9" * 5000, "NaN", "Infinity", "-Infinity", "null", "true", "[]", "{}", "0x10"),
    *("%25", "_", "%5C", "%27", "%22", ";", "%0A", "%0D", "a" * 5000, "..%2F..", "stalled", "nonsense", "*"),
)
BODIES = (
    *(b"", b"null", b"[]", b"1", b'"x"', b"{", b"{}}", b"\xff\xfe", b"\x00", b'{"verb": NaN}', b"[" * 100_000),
    *(
        b'{"verb": "\\ud800"}',
        b'{"verb": "\\u0000"}',
        b'{"verb": []}',
        b'{"verb": {}}',
        b'{"verb": null}',
        b'{"verb": 1}',
    ),
    *(
        b'{"\\ud800": 1}',
        b'{"\\u0000": 1}',
        b'{"verb": "pause", "\\ud800": "\\udfff"}',
        b'{"verb": "pause", "value": [1]}',
    ),
    *(b'{"fingerprint": "\\u0000"}', b'{"fingerprint": "\\udce9"}', b'{"fingerprint": "' + b"x" * 10_000 + b'"}'),
    *(b'{"positions": [NaN]}', b'{"positions": [-1]}', b'{"positions": [1e400]}', b'{"positions": ["\\ud800"]}'),
    *(b'{"positions": [' + b"9" * 6000 + b"]}", b'{"positions": {}}', b'{"fingerprint": "a", "positions": [1]}'),
    *(
        b'{"verb": "set", "value": {"%s": %s}}' % (name, value)
        for name in (b"max_concurrency", b"rate_limit", b"tolerate")
        for value in (
            *(b"NaN", b"Infinity", b"-1", b"0.5", b"1e308", b"9" * 400, b"true", b"[]", b"{}", b'""', b'"\\u0000"'),
            *(b'"\\ud800"', b'"150%"', b'"-1%"', b'"1e1%"', b'"\xd9\xa3%"', b'"5\\n"', b'"' + b"9" * 5000 + b'"'),
        )
    ),
)


@pytest.fixture
def uid(admin: TestClient, book: Ledger) -> str:
    """A scatter with a failed item, in each kind of database."""
    claim = airflow_scatter(book, total=100)
    made.done(claim, 0, "oof")
    return claim.uid


def refused(answer: Any, where: str) -> None:
    """Hold an answer to the rule: done, or 4xx with a sentence."""
    assert answer.status_code < 500, (where, answer.text)
    if answer.status_code >= 400:
        detail = answer.json()["detail"]
        assert isinstance(detail, str), where
        assert len(detail) < 2000, where


def parameters(client: TestClient) -> list[tuple[str, str, str]]:
    """(path, name, place) of each parameter of each GET."""
    paths = get(client, "/openapi.json")["paths"]
    return [
        (path, one["name"], one["in"]) for path in paths for one in paths[path].get("get", {}).get("parameters", ())
    ]


def test_no_value_of_any_parameter_is_a_fault_of_the_server(admin: TestClient, uid: str) -> None:
    known = parameters(admin)
    assert len(known) > 25
    for path, name, place in known:
        for value in NASTY:
            filled = path.replace("{uid}", value if (name, place) == ("uid", "path") else uid)
            filled = filled.replace("{pos}", value if (name, place) == ("pos", "path") else "1")
            query = f"?{name}={value}" if place == "query" else ""
            refused(admin.get(f"/manifold{filled}{query}"), f"{filled}{query}"[:300])
    assert deployment.ledger()  # no reader's value has closed the page to the others


def test_repeated_and_unknown_parameters_are_no_fault_of_the_server(admin: TestClient, uid: str) -> None:
    for path, name, place in parameters(admin):
        if place == "query":
            filled = path.replace("{uid}", uid).replace("{pos}", "1")
            for values in (("1", "%00"), ("running", "stalled", "stopped"), ("1", "x") * 200):
                query = "&".join(f"{name}={value}" for value in values)
                refused(admin.get(f"/manifold{filled}?{query}"), f"{filled}?{query}"[:300])
            refused(admin.get(f"/manifold{filled}?%00=1&{quote('ключ')}=2"), filled)


@pytest.mark.parametrize("value", ["%00", "a%00", "%ED%B3%A9", "%FF"])
def test_text_that_no_database_keeps_is_refused_with_a_sentence(admin: TestClient, uid: str, value: str) -> None:
    answer = admin.get(f"{API}/scatters?search={value}")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("search ")


def test_a_path_with_nul_is_refused(admin: TestClient) -> None:
    for path in ("/manifold/static/%00", f"{API}/%00", "/manifold/static/a%ED%B3%A9"):
        refused(admin.get(path), path)


@pytest.mark.parametrize("tag", ["", "*", '"', 'W/"', "\xff", "," * 5000, 'W/"' + "0" * 32 + '"', '"a", W/"b"'])
def test_any_etag_is_taken(admin: TestClient, uid: str, tag: str) -> None:
    for path in ("/scatters", f"/scatters/{uid}", f"/scatters/{uid}/rate"):
        assert admin.get(f"{API}{path}", headers={"If-None-Match": tag.encode("latin-1")}).status_code == 200


@pytest.mark.parametrize("action", ["controls", "redrive"])
def test_no_body_is_a_fault_of_the_server(admin: TestClient, uid: str, action: str) -> None:
    for body in BODIES:
        for kind in (
            "application/json",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json; charset=x",
        ):
            answer = admin.post(f"{API}/scatters/{uid}/{action}", content=body, headers={"Content-Type": kind})
            refused(answer, f"{action} {kind} {body[:200]!r}")
            assert body == b"{}" or answer.status_code >= 400 or b"verb" in body, body[:200]


@pytest.mark.parametrize("value", ["150%", "-1", "1e1%", "lots", 1.5, True, None, [], -3])
def test_a_tolerance_without_sense_is_refused_in_plain_words(admin: TestClient, uid: str, value: Any) -> None:
    answer = admin.post(f"{API}/scatters/{uid}/controls", json={"verb": "set", "value": {"tolerate": value}})
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert "a count such as 5, or a percentage from 0 to 100" in detail
    assert repr(value) in detail
    assert not any(raw in detail for raw in ("pattern", "regex", "body", "^"))


HIDING = ("\u202e", "\u2066", "\u200e", "\u061c", "\u200b", "\u2060", "\ufeff", "\u2028", "\x1b", "\x85", "\U000e0041")


@pytest.mark.parametrize("mark", HIDING)
def test_what_turns_or_hides_text_is_shown_in_the_answers(admin: TestClient, book: Ledger, mark: str) -> None:
    claim = airflow_scatter(book)
    text = f"a{mark}b"
    failure = Failure(0, "boom", text, text, key=text, item_repr=text)
    made.done(claim, 0, "f", worker=text, failures=[failure], kinds={"boom": text})
    for path in ("", "/failures", "/errors", "/failures/0"):
        answer = json.dumps(get(admin, f"/scatters/{claim.uid}{path}"), ensure_ascii=False)
        assert mark not in answer
        assert json.dumps(ascii(mark)[1:-1])[1:-1] in answer


def test_joiners_and_accents_are_left_as_they_are(admin: TestClient, book: Ledger) -> None:
    claim = airflow_scatter(book)
    text = "family \U0001f468\u200d\U0001f469, \u0645\u06cc\u200c\u062e\u0648, e\u0301"
    made.done(claim, 0, "f", failures=[Failure(0, "boom", "ValueError", text)])
    assert get(admin, f"/scatters/{claim.uid}/failures/0")["message"] == text


OWN = "http://testserver"


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({}, True),
        ({"Origin": OWN}, True),
        ({"Origin": "https://testserver"}, True),  # a proxy ends TLS
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "http://testserver.evil.example"}, False),
        ({"Origin": "http://testserver:8080"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "nonsense \u202e".encode()}, False),
        ({"Referer": f"{OWN}/plugin/scatters?x=1"}, True),
        ({"Referer": "https://evil.example/testserver"}, False),
        ({"Referer": "https://evil.example/", "Origin": OWN}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://airflow.example:8443"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Origin": OWN}, False),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://other.testserver"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Host": "airflow.example", "Origin": "https://airflow.example"}, True),  # a proxy ends TLS
        ({"Host": "airflow.example:8443", "Origin": "https://airflow.example:8443"}, True),
        ({"X-Forwarded-Host": "airflow.example, inner", "Origin": "https://airflow.example"}, True),
        ({"X-Forwarded-Host": "airflow.example", "Origin": "https://evil.example"}, False),
        ({"Host": "[::1]:8080", "Origin": "http://[::1]:8080"}, True),
    ],
)
def test_only_airflows_own_page_may_change_something(
    admin: TestClient, book: Ledger, headers: dict[str, Any], own: bool
) -> None:
    claim = airflow_scatter(book)
    for path, body in (("controls", {"verb": "pause"}), ("redrive", {})):
        answer = admin.post(f"{API}/scatters/{claim.uid}/{path}", json=body, headers=headers)
        assert (answer.status_code != 403) is own, answer.text
        if not own:
            assert "not from Airflow's own page" in answer.json()["detail"]
    assert bool(book.pending_controls(claim.uid)) is own
    assert get(admin, f"/scatters/{claim.uid}")  # whoever reads, changes nothing


def test_the_base_url_of_airflow_is_its_own_origin(
    admin: TestClient, book: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://Airflow.example/sub/path")
    claim = airflow_scatter(book)
    for origin, code in (("https://airflow.example", 202), ("https://airflow.example.evil", 403)):
        answer = admin.post(f"{API}/scatters/{claim.uid}/controls", json={"verb": "pause"}, headers={"Origin": origin})
        assert answer.status_code == code


def test_a_script_with_a_token_needs_no_origin(login: Login, book: Ledger) -> None:
    claim = airflow_scatter(book)
    token = login("admin").cookies["_token"]
    answer = login("").post(
        f"{API}/scatters/{claim.uid}/controls", json={"verb": "pause"}, headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 202


@pytest.mark.parametrize("action", ["controls", "redrive", "nowhere"])
@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize("user", ["admin", "nobody"])
def test_a_body_that_is_too_large_is_refused_and_not_read_to_its_end(
    admin: TestClient, uid: str, action: str, pieces: bool, user: str
) -> None:
    read = 0

    def sent() -> Iterator[bytes]:
        nonlocal read
        while read < 5_000_000:
            read += 10_000
            yield b" " * 10_000

    headers = {"Content-Type": "application/json"} | ({} if pieces else {"Content-Length": "5000000"})
    if user == "nobody":
        admin.headers.pop("Authorization", None)
        admin.cookies.clear()
    answer = admin.post(f"{API}/scatters/{uid}/{action}", content=sent(), headers=headers)
    assert answer.status_code == 413
    assert "more than 65,536 bytes" in answer.json()["detail"]


@pytest.mark.parametrize("declared", [None, b"5000000"])
def test_of_a_body_that_is_too_large_no_more_is_taken_than_shows_it(declared: bytes | None) -> None:
    taken: list[int] = []
    answers: list[Message] = []

    async def receive() -> Message:
        taken.append(10_000)
        return {"type": "http.request", "body": b" " * 10_000, "more_body": True}

    async def send(message: Message) -> None:
        answers.append(message)

    async def never(*_: object) -> None:
        raise AssertionError("no route is asked")

    scope = {"type": "http", "method": "POST", "path": "/api/x", "raw_path": b"/api/x", "query_string": b""}
    scope["headers"] = [] if declared is None else [(b"content-length", declared)]
    asyncio.run(Guard(never)(scope, receive, send))
    assert answers[0]["status"] == 413
    assert len(taken) == (7 if declared is None else 0)


def test_a_body_in_pieces_arrives_whole(admin: TestClient, uid: str) -> None:
    body = json.dumps({"positions": list(range(10**15, 10**15 + 1000))}).encode()
    assert len(body) > 15_000
    pieces = (body[at : at + 100] for at in range(0, len(body), 100))
    answer = admin.post(f"{API}/scatters/{uid}/redrive", content=pieces, headers={"Content-Type": "application/json"})
    assert answer.status_code not in (413, 422), answer.text
