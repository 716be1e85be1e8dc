"""What a scatter is to be: the one argument that Airflow's operator, plain Python and the command line make up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from manifold.abc import Source
from manifold.policy import Policy
from manifold.protocol.secrets import Secrets

Mode = Literal["continue", "fresh", "redrive", "reuse"]
"""continue: gaps, and items that failed in earlier tries; fresh: all again, under a new uid;
redrive: only failed items, whatever else is missing; reuse: what is there, without running anything."""


@dataclass(frozen=True, slots=True)
class ScatterSpec:
    """What is to be run, and what this try does about what is there already.

    Args:
        names: the keywords of an item; None for a single positional one.
        name: what the scatter is called in the ledger; unique among the living.
        uid: its identity where the caller keeps one (Airflow's task state store); None finds it by name.
        why: a sentence for the log: what this try does, and why.
        engine_url: what the ledger shows, and what scatters that share the engine are counted by.
        store_url: as the worker shall open it: "" for its own default, None where it cannot.
        chosen: for a redrive, which failed positions; None for all.
        roots: folders whose modules travel by value.
        secrets: the connections and variables that the function is given, with what the caller knows to be secret.
        hidden: texts among the constants that are secret.
        same_code, same_constants: `fn`, or `consts` and the options that go with them, are what the scatter's own
            store holds, so there is nothing to compare.
    """

    fn: Callable[..., Any]
    source: Source
    name: str
    engine_url: str
    names: tuple[str, ...] | None = None
    consts: Mapping[str, Any] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    mode: Mode = "continue"
    uid: str | None = None
    why: str = ""
    store_url: str | None = ""
    chosen: Callable[[int], bool] | None = None
    roots: Sequence[str] = ()
    secrets: Secrets = field(default_factory=Secrets)
    hidden: Sequence[str] = ()
    same_code: bool = False
    same_constants: bool = False
