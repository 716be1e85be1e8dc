"""The operator behind `@task.scatter`: one task instance that coordinates a scatter, and its place among the tries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import NEVER_EXPIRE, BaseOperator  # type: ignore[attr-defined]  # not in its stub file
from airflow.sdk.configuration import conf
from airflow.sdk.log import mask_secret

from manifold.airflow.compat import ResolveMixin, around_pre_execute, bundle_root
from manifold.airflow.deleted import TEMPORARY
from manifold.airflow.ending import goes_on, translated, waits_drained, was_drained, written_down
from manifold.airflow.items import Items
from manifold.airflow.link import ScatterLink
from manifold.airflow.resume import Cookie, Decision, decide, stays_cancelled
from manifold.control_requests import asked_again
from manifold.errors import Cancelled, Drained
from manifold.option_checks import is_template
from manifold.policy import Policy
from manifold.worker.perworker import PerWorker

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from manifold.coordinator.spec import ScatterSpec
    from manifold.ledger import Ledger, Owner
    from manifold.results.results import Results


PLACES = ("engine", "store", "worker_queue")
"""Options that the task can be given by another task's output."""


class ScatterOperator(BaseOperator):
    """Calls a function for each item, on an engine, and returns a `Results` handle.

    Args:
        python_callable: called with an item by keyword and the constants.
        items: the inputs by keyword; several are walked in step.
        consts: the same for every item.
        retries: tries of the task after a crash; each continues with what is missing. Failed items use
            `item_retries` instead, and too many of them fail the task without a retry.
        kwargs: the options of `manifold.policy.Policy`, which may stand in `default_args` too, and those of Airflow.
            Those of `PLACES` may be another task's output, or the argument of a mapped task group.
    """

    template_fields: Sequence[str] = ("items", "consts", "engine", "store", "worker_queue", "connections", "variables")
    template_fields_renderers: ClassVar[dict[str, str]] = {"consts": "py"}
    shallow_copy_attrs: Sequence[str] = ("python_callable", "items", "options")
    custom_operator_name = "@task.scatter"
    operator_extra_links = (ScatterLink(),)
    _stop: threading.Event | None = None
    _rendered: list[tuple[str, Any]] | None = None
    _hidden: Sequence[str] = ()

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        items: Items,
        consts: Mapping[str, Any] | None = None,
        retries: int = 2,
        **kwargs: Any,
    ) -> None:
        given = {name: kwargs.pop(name) for name in Policy.names() & kwargs.keys()}
        defaults = kwargs.get("default_args") or {}
        options = {name: defaults[name] for name in Policy.names() & defaults.keys()} | given
        super().__init__(retries=retries, **kwargs)
        self.python_callable = python_callable
        self.items = items
        self.consts = dict(consts or {})
        outputs, options = split_outputs(options)
        policy = Policy.of(options)
        self.options = options
        self.engine = outputs.get("engine", policy.engine)
        self.store = outputs.get("store", policy.store)
        self.worker_queue = outputs.get("worker_queue", policy.worker_queue)
        self.connections = list(policy.connections)
        self.variables = list(policy.variables)
        _check_places(policy, python_callable)

    def render_template_fields(self, context: Context, jinja_env: jinja2.Environment | None = None) -> None:
        from manifold.airflow import templates

        # Needed in messages; URLs are masked as URLs are. Another task's output is no template.
        places = [place for place in (self.engine, self.store, self.worker_queue) if isinstance(place, str)]
        shown = {*places, *self.connections, *self.variables}
        self._rendered = []
        written = partial(written_down, context, _owner, self.log)
        around_pre_execute(self, written)
        with written():
            super().render_template_fields(context, jinja_env)
        rendered, self._rendered = self._rendered, None
        pairs = [(text, value) for text, value in rendered if text not in shown]
        self._hidden = sorted({one for text, value in pairs for one in templates.hidden_of(text, value)})
        for text in self._hidden:
            mask_secret(text)  # before Airflow keeps the rendered fields

    def render_template(self, content: Any, context: Context, *args: Any, **kwargs: Any) -> Any:
        if isinstance(content, PerWorker):
            before = len(self._rendered or ())
            given = super().render_template((content.args, content.kwargs), context, *args, **kwargs)
            # Without templates it stays what it is: one that stands under two names is made once.
            return content if len(self._rendered or ()) == before else PerWorker(content.factory, *given)
        value = super().render_template(content, context, *args, **kwargs)
        if self._rendered is not None and isinstance(content, str) and value != content:
            self._rendered.append((content, value))
        return value

    def execute(self, context: Context) -> Results:
        from manifold import redaction
        from manifold.airflow.compat import redacted
        from manifold.airflow.configuration import configure

        if redacted not in redaction.redactors:
            redaction.redactors.append(redacted)
        self._stop = threading.Event()
        try:
            configure()
            return self._scatter(context, self._stop)
        except BaseException as exc:
            told = translated(exc, context, _owner(context), stopped=self._stop.is_set(), log=self.log)
            if told is exc:
                raise
            raise told from exc

    def on_kill(self) -> None:
        # Runs in a signal handler, some seconds before the kill: the coordinator does the rest.
        if self._stop is not None:
            self._stop.set()

    def _scatter(self, context: Context, stop: threading.Event) -> Results:
        from manifold.airflow.configuration import check_store, default_engine
        from manifold.airflow.inside import secrets_of
        from manifold.airflow.monitor import TaskLogMonitor
        from manifold.config import resolve, store_url
        from manifold.coordinator.spec import ScatterSpec
        from manifold.coordinator.start import run
        from manifold.engines.open import open_engine
        from manifold.ledger import open_ledger
        from manifold.protocol.by_value import by_value
        from manifold.results.results import Results
        from manifold.sources import as_source, zipped
        from manifold.stores import open_store
        from manifold.worker import forks

        ti = context["ti"]
        engine = resolve(default_engine() if self.engine in (None, "", "default") else self.engine)
        store = resolve(self.store) if self.store else ""
        check_store(store or store_url())
        rendered = {name: getattr(self, name) for name in ("worker_queue", "connections", "variables")}
        own: dict[str, Any] = {"engine": engine, "store": store or None}
        if ti.run_id.startswith(TEMPORARY):
            own["system"] = True  # `airflow tasks test` deletes the run, and nobody asks for its scatter again
        policy = Policy.of(self.options | rendered | own)
        inputs = self.items.values
        name = _name(ti)
        # The results read from ledger and store, so these stay open until the task's process ends.
        ledger = open_ledger()
        spec = ScatterSpec(
            fn=self.python_callable,
            source=as_source(*inputs.values()) if len(inputs) == 1 else zipped(**inputs),
            name=name,
            engine_url=engine,
            names=tuple(inputs),
            consts=self.consts,
            policy=policy,
            store_url=store,
            secrets=secrets_of(policy),
            hidden=self._hidden,
        )
        decision = self._decide(context, ledger, spec)
        # In place of it comes what `execute` returns. Where a person marks the task as success before, Airflow lets the
        # tasks after it run, and they are told what happened.
        if self.do_xcom_push:
            ti.xcom_push(key="return_value", value=Results.begun(decision.uid, ledger))
        spec = replace(spec, mode=decision.mode, uid=decision.uid, why=decision.why)
        if decision.keeps:  # nobody asks for a fresh start, or a refusal, by asking for failed or missing items
            spec = replace(spec, policy=policy.with_(on_code_changed="warn"))
        queue = {"queue": self.worker_queue} if self.worker_queue else {}
        told = [TaskLogMonitor(self.log, decision.why)]
        # Airflow's handler of SIGTERM ignores it in children, which items on threads may have: whoever ends them waits.
        with forks.serving(raising=True), by_value(self._roots(context)), open_engine(engine, **queue) as workers:
            return run(
                spec,
                ledger=ledger,
                store=open_store(store),
                engine=workers,
                owner=_owner(context),
                monitors=told,
                stop=stop,
                goes_on=lambda: goes_on(context),
            )

    def _decide(self, context: Context, ledger: Ledger, spec: ScatterSpec) -> Decision:
        """What this try does. The cookie is written before the ledger has a row that it could name."""
        from manifold.coordinator.given import outdated

        ti, cookies = context["ti"], context["task_state_store"]
        cookie = Cookie.read(cookies)
        policy, row = spec.policy, ledger.find(spec.name)
        if row is not None and (cookie is None or row.uid != cookie.uid):
            row = None  # of a DAG run that was deleted: another scatter, for all that the names are the same
        if row is not None and (why := waits_drained(ledger, row, _owner(context))) is not None:
            raise Drained(f"{why}; manifold resume {row.uid}, or Continue on its page")
        again = None if row is None else asked_again(ledger, row.uid)
        if row is not None and stays_cancelled(cookie, row, max_tries=ti.max_tries, again=again):
            raise Cancelled(
                f"{row.message or 'cancelled'}. Clear the task, or press Continue on its page, to run the rest"
            )
        decision = decide(
            cookie,
            row,
            max_tries=ti.max_tries,
            resume=policy.resume,
            again=again,
            lost=row is not None and bool(ledger.suspects(row.uid)),
            outdated=row is not None and policy.on_code_changed == "fresh" and outdated(spec, row),
            drained=row is not None and was_drained(ledger, row, _owner(context)),
        )
        fresh = Cookie(decision.uid, ti.max_tries)
        if fresh != cookie:
            fresh.write(cookies, NEVER_EXPIRE)
        self.log.info("Try %d of %d %s. Scatter %s", ti.try_number, ti.max_tries + 1, decision.why, decision.uid)
        return decision

    def _roots(self, context: Context) -> list[Path]:
        """The author's folders, whose modules travel with the function."""
        folders = [conf.get("core", option, fallback=None) for option in ("dags_folder", "plugins_folder")]
        here = [Path(context["dag"].fileloc).parent, bundle_root(context["ti"])]
        return [Path(folder).expanduser() for folder in folders if folder] + [root for root in here if root]


def _name(ti: Any) -> str:
    """What the scatter of a task instance is called in the ledger."""
    from manifold.ledger import scatter_name

    return scatter_name(ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index)


def _owner(context: Context) -> Owner:
    """This try, as it claims the scatter."""
    from manifold.ledger import Owner

    ti, name = context["ti"], _name(context["ti"])
    text = f"airflow {name}, try {ti.try_number}"
    return Owner.here(text, claim_key=name, claim_no=ti.try_number, claims=ti.max_tries + 1)


def split_outputs(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options that are other tasks' outputs, and those whose values stand in the DAG file."""
    outputs = {name: options[name] for name in PLACES if isinstance(options.get(name), ResolveMixin)}
    return outputs, {name: value for name, value in options.items() if name not in outputs}


def _check_places(policy: Policy, function: Callable[..., Any]) -> None:
    """Raise ConfigError, when the DAG file is read, for an engine or a store that could never do.

    Templates and connection ids are looked up in the task.
    """
    from manifold.airflow.configuration import check_store
    from manifold.engines.open import check_engine
    from manifold.protocol.job import is_async
    from manifold.registry import STORES

    queue = {"queue": policy.worker_queue} if policy.worker_queue and not is_template(policy.worker_queue) else {}
    if policy.engine and not is_template(policy.engine):
        timeout = policy.item_timeout
        check_engine(policy.engine, is_async=is_async(function), item_timeout=timeout, **queue)
    if policy.store and "://" in policy.store and not is_template(policy.store):
        STORES.check(policy.store)
        check_store(policy.store)
