"""What the page's API answers. Fields are added, never renamed: the React app is built against them.

Points in time are seconds since the epoch by the ledger's clock, durations are seconds, positions count the whole
input from 0, a range is [start, stop). What is not known is null. No value carries a password.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from manifold.text import visible

State = Literal["running", "paused", "draining", "drained", "stopped", "succeeded", "failed", "cancelled"]
"""As `manifold.ledger.states` derives it. `paused`: somebody asked for that and nobody took it back; `draining`: it
ends once what runs has ended; `drained`: it has, and waits to be continued; `stopped`: its coordinator is gone, and the
next try continues."""

Filter = State | Literal["stalled"]
"""What the list can be filtered by; `stalled` is the former name of `stopped`."""

Sort = Literal["created", "-created", "name", "-name", "state", "-state", "engine", "-engine", "failed", "-failed"]
Verb = Literal["pause", "resume", "drain", "cancel", "set"]
Uid = Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")]
Text = Annotated[str, AfterValidator(visible)]
"""Text of others, such as an error's message: control characters, marks that turn the direction of writing and what
cannot be seen are written as in a Python string, `\\u202e`."""


class Task(BaseModel):
    """The Airflow task instance that a scatter is of. `map_index` is -1 where the task is not mapped."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int


class Counts(BaseModel):
    """What became of the items. The first three, with `running` and `pending`, add up to `total` where that is known.

    An item that failed and runs again counts as failed until it has another outcome.
    """

    succeeded: int
    failed: int
    skipped: int
    running: int = Field(description="Sent to the engine and without an outcome; some may wait there for a worker.")
    pending: int | None = Field(description="Not sent yet; null while the number of items is unknown.")
    total: int | None
    total_is_estimate: bool = Field(description="The input is not read to its end: `total` is told by its share.")


class Scatter(BaseModel):
    """One scatter, as a row of the list."""

    uid: str
    name: Text
    task: Task | None = Field(description="null for a scatter of plain Python.")
    function: Text
    engine: Text
    state: State
    counts: Counts
    rate: float | None = Field(description="Items per second: of the last minute while it runs, then of the whole.")
    seconds_left: float | None
    created_at: float
    ended_at: float | None
    duration: float = Field(description="What its tries took together, without the time between them.")
    message: Text | None = Field(
        description="Why it is as it is: how it or its latest try ended; null while it runs or if it succeeded."
    )
    url: str | None = Field(description="The task instance's page in Airflow, from its base URL on.")
    run_deleted: bool = Field(
        description="Airflow does not hold the DAG run any more; `manifold gc` takes the scatter."
    )


class Scatters(BaseModel):
    """One page of the list. `total` counts all that the filters let through and the reader may see."""

    scatters: list[Scatter]
    total: int


class ItemSeconds(BaseModel):
    """How long an item takes: half of them less than `p50`, and so on. Each counts with the mean of its chunk."""

    p50: float
    p90: float
    p99: float


class Settings(BaseModel):
    """What a person may change while it runs, as in force now. null: no limit."""

    max_concurrency: int | None
    rate_limit: float | None
    tolerate: str = Field(description='How many items may fail: a count such as "5", or a percentage such as "1%".')


class ControlRequest(BaseModel):
    """What somebody asked of a scatter and no coordinator has applied yet."""

    no: int
    verb: Literal["pause", "resume", "drain", "cancel", "set", "redrive"]
    value: dict[str, Any]
    by_whom: Text
    at: float


class Chunks(BaseModel):
    """Chunks by what became of them. The counts of a try that was given up stay."""

    committed: int
    in_flight: int
    lost: int = Field(description="Sent, and never came back with an outcome that counted.")
    speculative: int = Field(description="Second copies of stragglers that were sent.")


class Span(BaseModel):
    """Neighbouring items [start, stop)."""

    start: int
    stop: int


class May(BaseModel):
    """What the reader may do."""

    steer: bool = Field(description="Pause, resume, drain, cancel, change settings, and retry failed items.")


class Kind(BaseModel):
    """Items that are failed now by one type of error at one place."""

    fingerprint: str
    type: Text
    message: Text = Field(description="Of the first of them.")
    count: int


class Worker(BaseModel):
    """A worker, as its coordinator last saw it."""

    name: Text
    host: Text
    pid: int
    engine: Text
    alive: bool = Field(description="It has reported lately, to a coordinator that runs; false once it has ended.")
    seconds_silent: float
    busy: int = Field(description="How many chunks it holds.")
    items: int
    chunks: int
    rate: float | None = Field(description="Items per second over the last minute.")


Ending = Literal["succeeded", "failed", "cancelled", "replaced", "drained", "stopped", "error", "fenced", "lost"]
"""How a try ended. The first four ended the scatter with it; after the others it can be continued: `drained` by a
person, `stopped` by a signal to its process, `error` it could not go on, `fenced` a later try of the same task took
over while it was alive, `lost` its process did not report any more."""


class Try(BaseModel):
    """One try at a scatter. `number` of `numbers` is its place among the tries of its Airflow task; null for others."""

    number: int | None
    numbers: int | None
    owner: Text
    mode: str = Field(description="continue, fresh, redrive, reuse, or cancel.")
    why: Text = Field(description="What it does, in a sentence.")
    began_at: float
    ended_at: float | None = Field(description="null while it runs; for a lost one, when it last reported.")
    ending: Ending | None
    message: Text | None = Field(description="Why it ended so.")
    items: int = Field(description="Items that came to an outcome in it.")
    chunks: int


class ScatterDetail(Scatter):
    """One scatter with all that its tab shows first."""

    item_seconds: ItemSeconds | None
    tries: int
    history: list[Try] = Field(description="The tries, the newest first.")
    coordinator: Text | None = Field(description="Who coordinates it at the moment; null: nobody.")
    paused_by: Text | None
    policy: dict[str, Any] = Field(description="The options it was begun with; passwords are masked.")
    settings: Settings
    control_requests: list[ControlRequest]
    wishes: list[ControlRequest] = Field(
        description="The former name of `control_requests`; it goes with the next minor version."
    )
    chunks: Chunks
    suspects: list[Span] = Field(description="The first of those whose results a reader could not read.")
    suspects_total: int
    errors: list[Kind] = Field(description="The most frequent first, 100 at the most.")
    workers: list[Worker] = Field(description="Those that live or were seen last first, 500 at the most.")
    may: May


class RatePoint(BaseModel):
    """The items that came to an outcome in one stretch of time, [at, at + seconds)."""

    at: float
    seconds: float
    items: int
    failed: int


class Rate(BaseModel):
    """Items over time, without gaps: a stretch in which nothing happened has zeros."""

    points: list[RatePoint]


class Cell(BaseModel):
    """What became of the items [start, stop). The five counts add up to its size."""

    start: int
    stop: int
    succeeded: int
    failed: int
    skipped: int
    running: int
    pending: int


class Map(BaseModel):
    """The whole input in cells of equal size (the last one may be smaller). Empty where no item is known yet."""

    cells: list[Cell]
    total: int = Field(description="Items that the cells cover; where the total is unknown, those met so far.")


class Bar(BaseModel):
    """One sending of a chunk, as a bar of the timeline."""

    worker: Text | None = Field(description="null: not known (yet), as while it waits in a queue.")
    start: int
    stop: int
    began_at: float
    ended_at: float | None = Field(description="null while it runs; for a lost one, when its successor was sent.")
    state: Literal["committed", "running", "lost", "superseded"] = Field(
        description="`superseded`: another copy's outcome counted."
    )
    why: Literal["first", "lost", "half", "speculative", "redrive"]
    failed: int = Field(description="Items that failed in it; 0 unless it is committed.")


class Timeline(BaseModel):
    """The latest sendings by the time they began, the oldest of them first. `more`: there are older ones."""

    bars: list[Bar]
    more: bool


class Failure(BaseModel):
    """One item that is failed now. `item_repr` and `message` are cut."""

    pos: int
    key: Text | None
    fingerprint: str
    type: Text
    message: Text
    attempts: int
    worker: Text
    item_repr: Text | None


class KindDetail(Kind):
    """A kind of error, with its first traceback and some of its items."""

    traceback: Text
    samples: list[Failure] = Field(description="Its first items by position, three at the most.")


class Errors(BaseModel):
    """The kinds of errors, the most frequent first. `more`: there are rarer ones."""

    kinds: list[KindDetail]
    more: bool


class Failures(BaseModel):
    """One page of the quarantine by position. `next` is the `after` of the following page; null: there is none."""

    failures: list[Failure]
    next: int | None


class Line(BaseModel):
    """A line that the item's function printed or logged."""

    level: Text
    text: Text


class FailureDetail(Failure):
    """One failed item with its whole traceback and what it said."""

    traceback: Text
    lines: list[Line]
    note: Text | None = Field(
        description="Why traceback or lines are not the item's own, such as a store that this server cannot reach."
    )
    amiss: bool = Field(description="The note tells of something wrong; otherwise only of lines that are not kept.")


class Asked(BaseModel):
    """A control request that was recorded; `done` where it took effect at once. `text` says it in a sentence."""

    verb: Verb
    coordinator: Text | None
    done: bool
    text: Text


class Redriven(BaseModel):
    """What was cleared in Airflow: the task and what follows it, each as `task_id` or `task_id[map_index]`."""

    items: int | None = Field(description="How many items run again; null where the number of items is not known.")
    cleared: list[str]


class Problem(BaseModel):
    """Why a request was refused, in a sentence for people."""

    detail: Text
