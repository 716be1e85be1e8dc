"""What a web server sends is compared with what it said of the file when the input was fixed.

A server may answer HEAD and GET in two ways: from a cache and from the disk, by one host and by another, by a proxy
that knows no ranges. Where that shows, the file is read whole and measured, or refused; no line is cut without a word.
"""

from __future__ import annotations

import re
from typing import Any

from manifold.errors import ItemsChanged

PLAIN = {"Accept-Encoding": "identity"}
"""Headers that have a server send the file itself: the length of a compressed answer says nothing."""
_COMPARED = ("ETag", "Last-Modified")
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class Compared:
    """The session of a file on a web server, whose answers are compared with the file that was pinned.

    Args:
        session: the client's own.
        name: the file's, for people.
        size: its bytes; negative where the server does not say.
        stamp: the mark of its version, as in `PinnedFile`.
    """

    def __init__(self, session: Any, name: str, size: int, stamp: str) -> None:
        self._session = session
        self._name = name
        self._size = size
        self._stamp = stamp

    async def get(self, url: Any, **options: Any) -> Any:
        """Return the answer, of which nothing is read yet.

        Raises:
            ItemsChanged: it is of another version or length than the pinned file.
            ValueError: it is not part of the file that can be measured, so the whole file is to be read.
        """
        answer = await self._session.get(url, **options)
        try:
            self.check(answer, _first_byte(options))
        except BaseException:
            answer.close()
            raise
        return answer

    def check(self, answer: Any, first: int | None = None) -> None:
        """Compare an answer to a request of the bytes from `first` on, or of the whole file; raises as `get` does."""
        if answer.status >= 400:
            return  # a refusal, which the client raises
        kind, _, value = self._stamp.partition("=")
        now = answer.headers.get(kind) if kind in _COMPARED else None
        if now is not None and now.removeprefix("W/") != value.removeprefix("W/"):
            raise ItemsChanged(
                f"{self._name} has changed since the scatter began: its {kind} was {value}, and is {now}"
            )
        if first is not None:
            self._check_part(answer, first)

    def _check_part(self, answer: Any, first: int) -> None:
        if answer.headers.get("Content-Encoding", "identity") not in ("", "identity"):
            raise ValueError("a compressed answer cannot be measured")
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if answer.status != 206 or found is None:
            if answer.headers.get("Content-Length") != str(self._size):
                raise ValueError("the server knows no ranges, and sends another length than it said")
            return
        if int(found[1]) != first:
            raise ValueError("the server sends another part than it was asked for")
        if found[2] != "*" and int(found[2]) != self._size >= 0:
            raise ItemsChanged(other_length(self._name, self._size, int(found[2])))


def other_length(name: str, size: int, sent: int) -> str:
    """Say that a server sends a file with another length than it said before."""
    return (
        f"{name} had {size:,} bytes by what its server said when the scatter began, and {sent:,} were sent: the file "
        "has changed, or the server (or a proxy before it) answers HEAD for another version or encoding than GET. If "
        "that lasts, read the file from elsewhere, or from a copy"
    )


def _first_byte(options: dict[str, Any]) -> int | None:
    found = re.match(r"bytes=(\d+)-", (options.get("headers") or {}).get("Range", ""))
    return int(found[1]) if found else None
