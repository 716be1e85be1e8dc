"""The program: its commands, their examples, and what becomes of an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from manifold import logs
from manifold.cli import exits, out
from manifold.cli.again import continue_, restart
from manifold.cli.context import use_airflow
from manifold.cli.control import cancel, drain, pause, resume, set_
from manifold.cli.db import check, migrate
from manifold.cli.demo import demo
from manifold.cli.doctor import doctor
from manifold.cli.engines import EnginesCommand, engines
from manifold.cli.exporter import exporter
from manifold.cli.failed import failed
from manifold.cli.gc import gc
from manifold.cli.listing import ls
from manifold.cli.redrive import redrive
from manifold.cli.run import run
from manifold.cli.show import show, watch
from manifold.cli.verify import verify
from manifold.cli.worker import hub, worker
from manifold.cli.workers import workers
from manifold.errors import ManifoldError

_DEBUG = "manifold.debug"

EXAMPLES = {
    "demo": ["manifold demo", "manifold demo --once"],
    "run": [
        "manifold run mymodule:fetch --items 'urls/*.txt' --engine threads://32 --id pages --out pages.jsonl",
        "manifold run mymodule:score --items flights.csv --engine processes://4 --option tolerate=1%",
        "manifold run math:sqrt --items range:1000000 --option chunk_size=10000 --json",
        "zcat urls.gz | manifold run mymodule:fetch --items - --engine threads://32",
    ],
    "ls": [
        "manifold ls",
        "manifold ls --state running --json",
        "manifold ls --name flight_delays --limit 5",
        "manifold --demo ls",
    ],
    "show": ["manifold show pages", "manifold show 3f9a2c", "manifold show flight_delays/manual__2026-11-20/delay"],
    "watch": ["manifold watch pages", "manifold watch pages --every 10 --json"],
    "verify": ["manifold verify pages", "manifold verify pages --deep", "manifold verify --json"],
    "failed": ["manifold failed pages", "manifold failed pages --only-error TimeoutError --export timeouts.jsonl"],
    "redrive": [
        "manifold redrive pages --dry-run",
        "manifold redrive pages --only-error TimeoutError",
        "manifold redrive pages --function mymodule:fetch",
        "manifold redrive pages --lost --items 'urls/*.txt'",
        "manifold redrive flight_delays/manual__2026-11-20/delay --api-url https://airflow.example.com",
    ],
    "continue": [
        "manifold continue pages --items 'urls/*.txt'",
        "manifold continue pages --dry-run",
        "manifold continue flight_delays/manual__2026-11-20/delay --api-url https://airflow.example.com",
    ],
    "restart": [
        "manifold restart pages --items 'urls/*.txt'",
        "manifold restart flight_delays/manual__2026-11-20/delay",
    ],
    "pause": ["manifold pause pages"],
    "resume": ["manifold resume pages"],
    "drain": ["manifold drain pages"],
    "cancel": ["manifold cancel pages"],
    "set": ["manifold set pages max_concurrency=4 rate_limit=50", "manifold set pages rate_limit=none tolerate=2%"],
    "engines": ["manifold engines", "manifold engines celery_default processes://4"],
    "worker": [
        "manifold worker tcp://hub.example.com:7000 --slots 8",
        "manifold worker tcp://hub.example.com:7000 --queue heavy --max-memory-per-slot 2048 --drain-seconds 60",
    ],
    "workers": [
        "manifold workers tcp://hub.example.com:7000",
        "manifold workers tcp://hub.example.com:7000 --exclude gpu-host-3 --seconds 600",
    ],
    "hub": ["manifold hub tcp://0.0.0.0:7000"],
    "exporter": ["manifold exporter", "manifold exporter --host 0.0.0.0 --port 9469 --engine celery://manifold"],
    "gc": ["manifold gc --dry-run", "manifold gc --older-than 30d"],
    "db migrate": ["manifold db migrate"],
    "db check": ["manifold db check"],
    "doctor": ["manifold doctor", "manifold doctor --engine celery://manifold --json", "manifold doctor --new-secret"],
}
"""What `--help` shows for each command."""


class Program(TyperGroup):
    """Ends with the text of an error and its exit code, instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            out.note("interrupted")
            raise typer.Exit(exits.INTERRUPTED) from None
        except ManifoldError as exc:
            if ctx.meta.get(_DEBUG):
                out.console(stderr=True).print_exception()
            out.note(f"error: {exc}")
            raise typer.Exit(exits.code_of(exc)) from exc


def _program(
    ctx: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", envvar="MANIFOLD_DEBUG", help="Show an error's traceback.")] = False,
    of_demo: Annotated[
        bool, typer.Option("--demo", help="Talk to the stack that `make demo` has started from this checkout.")
    ] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Scatter one task over millions of items, and account for every one of them.

    The ledger is that of MANIFOLD_LEDGER, or of Airflow's section [manifold] where Airflow is configured, or a file of
    yours. An ID is a uid or its unique beginning, a scatter's name, or dag/run/task.
    """
    ctx.meta[_DEBUG] = debug
    if of_demo:
        from manifold.demo.access import enter

        enter()
    use_airflow()
    logs.setup()
    if version:
        import manifold

        out.say(manifold.__version__)
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        out.say(ctx.get_help())
        raise typer.Exit(exits.USAGE)


app = typer.Typer(
    cls=Program,
    callback=_program,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help is plain text: brackets are no markup, and an example can be copied
    epilog=exits.table(),
    context_settings={"help_option_names": ["-h", "--help"]},
)
_CLASSES = {"engines": EnginesCommand}
_db = typer.Typer(help="Make and check the ledger's tables.", no_args_is_help=True, rich_markup_mode=None)


def _add(group: typer.Typer, command: Callable[..., None], name: str) -> None:
    # A line of "\b" keeps a help text's lines as they are.
    examples = "\n  ".join(["\b\nExamples:", *EXAMPLES[name]])
    group.command(name.rpartition(" ")[2], cls=_CLASSES.get(name), epilog=examples)(command)


_COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "run": run,
    "ls": ls,
    "show": show,
    "watch": watch,
    "verify": verify,
    "failed": failed,
    "redrive": redrive,
    "continue": continue_,
    "restart": restart,
    "pause": pause,
    "resume": resume,
    "drain": drain,
    "cancel": cancel,
    "set": set_,
    "engines": engines,
    "exporter": exporter,
    "worker": worker,
    "workers": workers,
    "hub": hub,
    "gc": gc,
    "doctor": doctor,
}
for _name, _command in _COMMANDS.items():
    _add(app, _command, _name)
_add(_db, migrate, "db migrate")
_add(_db, check, "db check")
app.add_typer(_db, name="db")
