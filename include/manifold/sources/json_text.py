"""JSON as items: a value a line, or the members of one array. Errors name the line."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from manifold.errors import ConfigError

_PIECE = 1 << 18  # characters read at a time
_LONGEST_WORD = 16  # characters of an escape or a word such as `-Infinity`, which may be cut
_AFTER_VALUE = {",", "]", "}", " ", "\t", "\r", "\n"}
_blanks = re.compile(r"[ \t\r\n]*").match
_RAISES = (json.JSONDecodeError, RecursionError, ValueError)  # ValueError: an integer of thousands of digits


def json_lines(stream: IO[bytes], name: str, encoding: str) -> Iterator[Any]:
    """The value of each line that is not blank."""
    with io.TextIOWrapper(stream, encoding=encoding, newline="\n") as text:
        yield from _values(text, name)


def json_document(stream: IO[bytes], name: str, encoding: str) -> Iterator[Any]:
    """What a `.json` file holds: the members of its array, its one value, or, as JSON Lines, a value a line.

    It is JSON Lines if its first line is a whole value and others follow.
    """
    with io.TextIOWrapper(stream, encoding=encoding, newline="\n") as text:
        head = text.readline(_PIECE)
        blank = 0
        while head.isspace():
            blank += 1
            head = text.readline(_PIECE)
        if not head.endswith("\n") and not head.lstrip().startswith("["):
            head += text.readline()
        following = text.readline(_PIECE) if head.endswith("\n") and _is_whole(head) else ""
        while following.isspace():
            following = text.readline(_PIECE)
        if following:
            yield _value(head, name, blank + 1)
            yield from _values(_Rejoined(following, text), name, blank + 2)
        elif head.lstrip().startswith("["):
            yield from _members(_Rejoined(head, text), name, blank + 1)
        elif head:
            yield _value(head + text.read(), name, blank + 1)


def _values(lines: Any, name: str, first: int = 1) -> Iterator[Any]:
    # The standard library's parser, because integers beyond 64 bits must stay what they are.
    for number, line in enumerate(lines, first):
        if not line.isspace():
            try:
                yield json.loads(line)
            except _RAISES as exc:
                raise _refused(name, number, exc, "not one JSON value on one line") from exc


def _value(text: str, name: str, number: int) -> Any:
    try:
        return json.loads(text)
    except _RAISES as exc:
        within = exc.lineno - 1 if isinstance(exc, json.JSONDecodeError) else 0
        raise _refused(name, number + within, exc, "no JSON") from exc


def _is_whole(line: str) -> bool:
    try:
        json.loads(line)
    except (RecursionError, ValueError):
        return False
    return True


def _refused(name: str, number: int, exc: BaseException, what: str) -> ConfigError:
    if isinstance(exc, json.JSONDecodeError):
        return ConfigError(f"{name}, line {number}: {what} ({exc.msg}, column {exc.colno})")
    why = "it is nested too deep for Python's parser" if isinstance(exc, RecursionError) else str(exc)
    return ConfigError(f"{name}, line {number}: {why}")


def _members(text: Any, name: str, number: int) -> Iterator[Any]:
    """The members of an array, of which never more is held than one of them and a piece of the text."""
    array = _Text(text, name, number)
    array.take("[")
    if array.peek() == "]":
        array.take("]")
    else:
        while True:
            yield array.value()
            if array.peek() != ",":
                break
            array.take(",")
        array.take("]")
    if array.peek():
        raise ConfigError(
            f"{name}, line {array.line}: something follows the array. For one value a line, say format='jsonl'"
        )


class _Text:
    """JSON text that is read piece by piece."""

    def __init__(self, text: Any, name: str, line: int) -> None:
        self.line = line
        self._text = text
        self._name = name
        self._decode = json.JSONDecoder().raw_decode
        self._held = ""
        self._at = 0

    def peek(self) -> str:
        """The next character that is not a blank; "" at the end."""
        while True:
            end = _blanks(self._held, self._at).end()  # type: ignore[union-attr]
            self.line += self._held.count("\n", self._at, end)
            self._at = end
            if end < len(self._held):
                return self._held[end]
            self._held, self._at = self._text.read(_PIECE), 0
            if not self._held:
                return ""

    def take(self, wanted: str) -> None:
        if (found := self.peek()) != wanted:
            raise ConfigError(f"{self._name}, line {self.line}: {found or 'the end'}, where {wanted} should be")
        self._at += 1

    def value(self) -> Any:
        self.peek()
        piece = _PIECE
        while True:
            try:
                value, end = self._decode(self._held, self._at)
            except _RAISES as exc:
                more = self._text.read(piece) if self._may_go_on(exc) else ""
                if not more:
                    raise self._refused(exc) from exc
                end = -1
            else:
                # A number may go on in the next piece: `2`, `2.` and `2.5e` are the beginning of `2.5e9`.
                more = "" if self._held[end : end + 1] in _AFTER_VALUE else self._text.read(piece)
            if end >= 0 and not more:
                self.line += self._held.count("\n", self._at, end)
                self._at = end
                return value
            self._held, self._at = self._held[self._at :] + more, 0
            piece *= 2  # of a large member, so that it is not begun over and over

    def _may_go_on(self, exc: BaseException) -> bool:
        """What is wrong may only be that the text ends here."""
        if not isinstance(exc, json.JSONDecodeError):
            return False
        return exc.msg.startswith("Unterminated string") or exc.pos > len(self._held) - _LONGEST_WORD

    def _refused(self, exc: BaseException) -> ConfigError:
        if isinstance(exc, json.JSONDecodeError):
            line = self.line + self._held.count("\n", self._at, exc.pos)
            return ConfigError(f"{self._name}, line {line}: no JSON ({exc.msg})")
        return _refused(self._name, self.line, exc, "no JSON")


class _Rejoined:
    """Text of which the beginning has been read already."""

    def __init__(self, head: str, rest: io.TextIOWrapper) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int) -> str:
        head, self._head = self._head, ""
        return head or self._rest.read(size)

    def __iter__(self) -> Iterator[str]:
        head = self._head
        if not head.endswith("\n"):
            head += self._rest.readline()
        yield head
        yield from self._rest
