"""What the page's API takes: control requests and choices, with nothing in them that is not known here."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, StringConstraints, model_validator

from manifold.text import on_one_line

Fingerprint = Annotated[str, StringConstraints(pattern="^[^\\x00\\r\\n]{1,200}$")]
Position = Annotated[int, Field(ge=0, lt=2**53)]
_MOST = 2**53
_TOLERANCE = "^([0-9]{1,15}|100 ?%|[0-9]{1,2}([.][0-9]{1,6})? ?%)$"


def _tolerated(value: Any) -> int | str:
    """Return the value; raises ValueError, with a sentence for people."""
    if isinstance(value, str) and re.fullmatch(_TOLERANCE, value, re.ASCII):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _MOST and value == int(value):
        return int(value)  # 5.0 is a count in JSON
    shown = on_one_line(repr(value))
    raise ValueError(
        'a count such as 5, or a percentage from 0 to 100 such as "1%", says how many items may fail, and '
        f"{shown if len(shown) <= 40 else shown[:39] + '…'} is neither"
    )


Tolerated = Annotated[
    int | str,
    PlainValidator(
        _tolerated,
        json_schema_input_type=Annotated[int, Field(ge=0, lt=_MOST)]
        | Annotated[str, StringConstraints(pattern=_TOLERANCE)],
    ),
]
"""How many items may fail."""


class Order(BaseModel):
    """A request to the scatter's coordinator that needs no value."""

    model_config = ConfigDict(extra="forbid")
    verb: Literal["pause", "resume", "drain", "cancel"]
    value: Annotated[dict[str, Any], Field(max_length=0)] = Field(default_factory=dict)


class Changes(BaseModel):
    """Settings that are to change; those that are not named stay. null lifts a limit."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1})
    max_concurrency: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    rate_limit: Annotated[float, Field(gt=0, lt=1e12)] | None = None
    tolerate: Tolerated = Field(
        default=0, description='A count such as 5, or a percentage between 0 and 100 such as "1%".'
    )

    @model_validator(mode="after")
    def _some(self) -> Changes:
        if not self.model_fields_set:
            raise ValueError('name what is to change, such as {"max_concurrency": 4}')
        return self


class Change(BaseModel):
    """A request to change settings."""

    model_config = ConfigDict(extra="forbid")
    verb: Literal["set"]
    value: Changes


Control = Annotated[Order | Change, Field(discriminator="verb")]
"""What a person asks of a scatter."""


class AllFailed(BaseModel):
    """All failed items are to run again."""

    model_config = ConfigDict(extra="forbid")


class OfKind(BaseModel):
    """Those that failed by one kind of error are to run again."""

    model_config = ConfigDict(extra="forbid")
    fingerprint: Fingerprint


class At(BaseModel):
    """Those at these positions are to run again."""

    model_config = ConfigDict(extra="forbid")
    positions: list[Position] = Field(min_length=1, max_length=1000)


class Missing(BaseModel):
    """What has no outcome is to run, and what failed: the scatter continues."""

    model_config = ConfigDict(extra="forbid")
    missing: Literal[True]


class Everything(BaseModel):
    """All items are to run again, from scratch."""

    model_config = ConfigDict(extra="forbid")
    everything: Literal[True]


Redrive = AllFailed | OfKind | At | Missing | Everything
"""What is to run again: failed items and nothing else, unless it is one of the last two."""
