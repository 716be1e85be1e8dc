"""Results as a file of JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from os import PathLike
from typing import Any

import msgspec

from manifold.errors import ConfigError
from manifold.text import a_type
from manifold.writers._atomic import written


def to_jsonl(values: Iterable[Any], path: str | PathLike[str]) -> int:
    """Write one JSON value a line; the number of lines. Raises ConfigError for a value that JSON does not have."""
    number = 0
    encode = json.JSONEncoder(ensure_ascii=False, default=msgspec.to_builtins).encode
    with written(path) as file:
        for value in values:
            try:
                file.write(encode(value).encode("utf-8", "backslashreplace") + b"\n")
            except (TypeError, ValueError) as exc:
                raise ConfigError(f"result {number:,}, {a_type(value)}, is not JSON: {exc}") from exc
            number += 1
    return number
