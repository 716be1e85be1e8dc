"""Which texts that came out of templates are secrets, and so are masked wherever a scatter tells of itself.

A template's values are hidden, but for those of the run's own dates and names: `{{ ds }}` tells nothing, while
`{{ conn.crm.password }}`, `{{ var.value.token }}` or `{{ params.key }}` may. Numbers, dates, words that stand
everywhere, and what has fewer than five characters are not hidden (`manifold.redaction`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jinja2
from jinja2 import meta

from manifold.redaction import secrets_in

_OPEN = frozenset({
    "ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz", "logical_date", "data_interval_start",
    "data_interval_end", "prev_data_interval_start_success", "prev_data_interval_end_success",
    "prev_start_date_success", "prev_end_date_success", "run_id", "dag", "task", "task_instance_key_str",
})  # fmt: skip
"""Names of Airflow's context that hold dates and names of the run."""
_EXPRESSION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


def is_template(text: object) -> bool:
    """It would be rendered to something else."""
    return isinstance(text, str) and ("{{" in text or "{%" in text)


def hidden_of(template: str, rendered: Any) -> Iterator[str]:
    """What of a rendered template is hidden: the values of its expressions, or all of it where they cannot be told."""
    values = _values(template, rendered)
    if values is None:
        if not _open(template):
            yield from secrets_in(rendered)
        return
    for expression, value in values:
        if not _open("{{" + expression + "}}"):
            yield from secrets_in(value)


def _values(template: str, rendered: Any) -> list[tuple[str, str]] | None:
    """Each expression of a template with its value; None where more than expressions makes the text."""
    if "{%" in template or "{#" in template or not isinstance(rendered, str):
        return None
    *_, last = parts = _EXPRESSION.split(template.removesuffix("\n"))
    literals, expressions = parts[::2], parts[1::2]
    if last.endswith("\n"):
        return None
    found = re.fullmatch("(.*?)".join(map(re.escape, literals)), rendered, re.DOTALL)
    return None if found is None else list(zip(expressions, found.groups(), strict=True))


def _open(template: str) -> bool:
    try:
        names = meta.find_undeclared_variables(jinja2.Environment().parse(template))  # nosec B701 # only parsed
    except jinja2.TemplateError:
        return False
    return names <= _OPEN
