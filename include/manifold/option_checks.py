"""Checks of options, each a function of the option's name and value: it returns what is kept, or raises ConfigError."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from manifold.errors import ConfigError
from manifold.redaction import masked

Check = Callable[[str, Any], Any]

_CONNECTION_ID = re.compile(r"[\w#!()\-.:/\\]+")  # as Airflow has it
_CONNECTION_CHARACTERS = r"letters, digits and _ # ! ( ) - . : / \ "


def is_template(text: str) -> bool:
    """True for a text that Airflow renders before the task runs."""
    return "{{" in text or "{%" in text


def checked(options: Mapping[str, Any], checks: Mapping[str, Check]) -> dict[str, Any]:
    """Return the options as they are kept; raises one ConfigError that tells all that is wrong."""
    kept: dict[str, Any] = {}
    errors: list[ConfigError] = []
    for name, value in options.items():
        try:
            kept[name] = checks[name](name, value)
        except ConfigError as exc:
            errors.append(exc)
    if len(errors) > 1:
        raise ConfigError("; ".join(map(str, errors))) from errors[0]
    if errors:
        raise errors[0]
    return kept


def optional(check: Check) -> Check:
    """None, or what `check` takes."""
    return lambda name, value: None if value is None else check(name, value)


def anything(_name: str, value: Any) -> Any:
    return value


def whole(low: int, high: int | None = None) -> Check:
    def check(name: str, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
            bound = f"at least {low}" if high is None else f"between {low} and {high:,}"
            raise ConfigError(f"{name}={value!r} must be a whole number, {bound}")
        return value

    return check


def number(*, zero: bool) -> Check:
    def check(name: str, value: Any) -> Any:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and _finite(value)
        if not fits or value < 0 or (value == 0 and not zero):
            raise ConfigError(f"{name}={value!r} must be a finite number {'not below' if zero else 'above'} 0")
        return value

    return check


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def one_of(*allowed: str | bool) -> Check:
    def check(name: str, value: Any) -> Any:
        # By type, too: 1 is True, and "no" would be taken for yes.
        if not any(isinstance(value, type(one)) and value == one for one in allowed):
            raise ConfigError(f"{name}={value!r} must be one of {', '.join(map(repr, allowed))}")
        return value

    return check


def text(example: str) -> Check:
    def check(name: str, value: Any) -> Any:
        if not isinstance(value, str) or (value and not value.strip()):
            raise ConfigError(f'{name}={masked(repr(value))} must be a text, such as {name}="{example}"')
        return value

    return check


def function(*, or_field: bool = False) -> Check:
    """A callable; with `or_field` the name of an item's field, too."""

    def check(name: str, value: Any) -> Any:
        if not callable(value) and not (or_field and isinstance(value, str) and value):
            raise ConfigError(f"{name}={value!r} is not a function{', nor the name of a field' if or_field else ''}")
        return value

    return check


def names(option: str, value: Any) -> tuple[str, ...]:
    """Names that hooks find in the environment, where upper and lower case are one."""
    listed = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    seen: dict[str, str] = {}
    for name in listed:
        if not isinstance(name, str) or not name.strip():
            example = "crm" if option == "connections" else "region"
            raise ConfigError(f'{option}={value!r} must be a list of names, such as {option}=["{example}"]')
        if not is_template(name):
            _check_name(option, name)
        if (other := seen.setdefault(name.upper(), name)) != name:
            raise ConfigError(f"{option}: {other!r} and {name!r} would share one variable of the environment")
    return tuple(seen.values())


def _check_name(option: str, name: str) -> None:
    if option == "connections" and not _CONNECTION_ID.fullmatch(name):
        raise ConfigError(
            f"{option}: {name!r} is not a connection id of Airflow's, which has {_CONNECTION_CHARACTERS.strip()} only"
        )
    if "=" in name or "\0" in name:
        raise ConfigError(f"{option}: {name!r} cannot be part of the name of a variable of the environment")
