"""Files on web servers: refusals, servers that know no ranges, URLs with a query."""

from __future__ import annotations

import gzip
import io
import threading
import traceback
import zipfile
from collections.abc import Iterator
from functools import partialmethod
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from fsspec.implementations.http import HTTPFileSystem

from manifold.errors import ConfigError, ItemsChanged
from manifold.sources import lines, records

CSV = "a,b\n" + "".join(f"{n},x{n}\n" for n in range(20_000))
ROWS = [{"a": str(n), "b": f"x{n}"} for n in range(20_000)]


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.csv", CSV)
    return file.getvalue()


class Handler(BaseHTTPRequestHandler):
    files: ClassVar[dict[str, bytes]] = {
        "/data.csv": CSV.encode(),
        "/data.csv.gz": gzip.compress(CSV.encode()),
        "/data.zip": zipped(),
    }
    manner: ClassVar[str] = "ranges"
    tag: ClassVar[str] = "1"

    def do_HEAD(self) -> None:
        if self.manner == "no HEAD":
            self.send_error(405)
        else:
            self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: object) -> None:
        return

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/status/"):
            self.send_error(int(path.split("/")[2].partition(".")[0]))
            return
        if (data := self.files.get(path)) is None:
            self.send_error(404)
            return
        asked = self.headers.get("Range", "").removeprefix("bytes=")
        if asked and self.manner == "ranges":
            begin, _, end = asked.partition("-")
            part = data[int(begin) : int(end) + 1 if end else None]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{int(begin) + len(part) - 1}/{len(data)}")
        else:
            part = data
            self.send_response(200)
        if self.manner == "says no ranges":
            self.send_header("Accept-Ranges", "none")
        if self.manner != "no length":
            self.send_header(
                "Content-Length", "0" if self.manner == "HEAD says nothing" and not body else str(len(part))
            )
        self.send_header("ETag", self.tag)
        self.end_headers()
        if body:
            self.wfile.write(part)


MANNERS = ("ranges", "ignores ranges", "says no ranges", "no length", "no HEAD")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    # As large files are: in several requests.
    monkeypatch.setattr("fsspec.implementations.http.DEFAULT_BLOCK_SIZE", 40_000)
    HTTPFileSystem.clear_instance_cache()


@pytest.fixture
def url() -> Iterator[str]:
    Handler.manner, Handler.tag = "ranges", "1"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz", "data.zip"])
def test_a_file_is_read_whatever_its_server_knows_of_ranges(url: str, name: str, manner: str) -> None:
    Handler.manner = manner
    source = records(f"{url}/{name}")
    assert list(source.read()) == ROWS
    assert list(source.read(19_990)) == ROWS[19_990:]


def test_a_query_behind_the_suffix_hides_nothing(url: str) -> None:
    assert list(records(f"{url}/data.csv?token=a.b/c").read()) == ROWS
    assert len(list(records(f"{url}/data.csv.gz?x=1&y=*").read())) == len(ROWS)
    assert list(lines(f"{url}/data.csv?part=1#top").read())[:2] == ["a,b", "0,x0"]


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
@pytest.mark.parametrize("query", ["", "?sig=abc"])
def test_a_refusal_is_told_as_what_it_is(url: str, status: int, query: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot be read: the server answered {status}") as caught:
        list(records(f"{url}/status/{status}.csv{query}").read())
    assert "no file matches" not in str(caught.value)


@pytest.mark.parametrize("path", ["status/404.csv", "status/410.csv", "missing.csv?x=1"])
def test_a_file_that_is_not_there_is_told_so(url: str, path: str) -> None:
    with pytest.raises(ConfigError, match="no file matches"):
        list(records(f"{url}/{path}").read())


def test_a_server_that_does_not_answer_is_told_so() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        list(records("http://127.0.0.1:9/data.csv").read())


def test_a_refusal_later_on_is_no_change_of_the_input(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = records(f"{url}/data.csv")
    source.pin(None)
    monkeypatch.setattr(Handler, "files", {})
    with pytest.raises(ItemsChanged, match="is gone"):
        list(source.read())
    monkeypatch.undo()
    monkeypatch.setattr(Handler, "_answer", lambda self, *, body: self.send_error(403))
    with pytest.raises(ConfigError, match="answered 403"):
        list(source.read())


def test_another_version_is_noticed_by_its_tag(url: str) -> None:
    source = records(f"{url}/data.csv")
    source.pin(None)
    Handler.tag = "2"
    with pytest.raises(ItemsChanged, match="has changed"):
        list(source.read())


def test_a_server_that_says_a_length_and_sends_another_is_told(url: str) -> None:
    Handler.manner = "HEAD says nothing"
    with pytest.raises(ItemsChanged, match=r"data\.csv had 0 bytes by what its server said"):
        list(records(f"{url}/data.csv").read())


@pytest.mark.parametrize("path", ["status/401.csv", "missing.csv", "*.csv"])
def test_no_traceback_shows_the_password_of_a_url(url: str, path: str) -> None:
    secret = url.replace("http://", "http://reader:s3cr3t-word@")
    with pytest.raises(ConfigError) as caught:
        list(records(f"{secret}/{path}").read())
    assert "s3cr3t-word" not in "".join(traceback.format_exception(caught.value))


def _answers(handler: Handler, *, body: bool, said: int, ranges: bool, length: bool, compressed: bool = False) -> None:
    """HEAD tells of `said` bytes, whatever the file has."""
    data = CSV.encode()
    packed = (
        gzip.compress(data) if compressed and body and "gzip" in handler.headers.get("Accept-Encoding", "") else None
    )
    asked = handler.headers.get("Range", "").removeprefix("bytes=")
    part = packed or data
    if asked and ranges:
        begin, _, end = asked.partition("-")
        part = data[int(begin) : int(end) + 1]
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {begin}-{int(begin) + len(part) - 1}/{len(data)}")
    else:
        handler.send_response(200)
    if packed:
        handler.send_header("Content-Encoding", "gzip")
    if length or not body:
        handler.send_header("Content-Length", str(len(part) if body else said))
    handler.send_header("ETag", "1")
    handler.end_headers()
    if body:
        handler.wfile.write(part)


@pytest.mark.parametrize("said", [30_000, 40_000, 100_000, 5, 1_000_000])
@pytest.mark.parametrize("ranges", [False, True])
@pytest.mark.parametrize("length", [False, True])
def test_a_length_of_head_that_is_not_that_of_the_file_cuts_no_line(
    url: str, monkeypatch: pytest.MonkeyPatch, said: int, ranges: bool, length: bool
) -> None:
    monkeypatch.setattr(Handler, "_answer", partialmethod(_answers, said=said, ranges=ranges, length=length))
    with pytest.raises(ItemsChanged, match=rf"data\.csv had {said:,} bytes by what its server said.*HEAD"):
        list(lines(f"{url}/data.csv").read())


@pytest.mark.parametrize("ranges", [False, True])
def test_a_server_that_would_compress_sends_the_file_itself(
    url: str, monkeypatch: pytest.MonkeyPatch, ranges: bool
) -> None:
    answers = partialmethod(_answers, said=len(CSV), ranges=ranges, length=True, compressed=True)
    monkeypatch.setattr(Handler, "_answer", answers)
    assert list(records(f"{url}/data.csv").read()) == ROWS


@pytest.mark.parametrize("manner", ["ranges", "ignores ranges", "says no ranges"])
@pytest.mark.parametrize("header", ["ETag", "Last-Modified"])
def test_another_version_that_only_the_bytes_come_with_is_noticed(
    url: str, monkeypatch: pytest.MonkeyPatch, manner: str, header: str
) -> None:
    Handler.manner = manner
    send, answers = Handler.send_header, []

    def marked(handler: Handler, name: str, value: str) -> None:
        if name != "ETag":
            send(handler, name, value)
            return
        if handler.command == "GET":
            answers.append(handler.path)
        send(handler, header, f"version {1 + (len(answers) > (manner == 'ranges'))}")

    monkeypatch.setattr(Handler, "send_header", marked)
    with pytest.raises(ItemsChanged, match=f"its {header} was version 1, and is version 2"):
        list(lines(f"{url}/data.csv").read())


def test_a_weak_tag_is_the_same_version(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    send = Handler.send_header

    def marked(handler: Handler, name: str, value: str) -> None:
        send(handler, name, f"W/{value}" if name == "ETag" and handler.command == "GET" else value)

    monkeypatch.setattr(Handler, "send_header", marked)
    Handler.tag = '"1"'
    assert list(records(f"{url}/data.csv").read()) == ROWS
