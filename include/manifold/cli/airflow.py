"""`airflow manifold …`: the same commands, below Airflow's own program. Every `airflow` command imports this file."""

from __future__ import annotations

import argparse

from airflow.cli.cli_config import ActionCommand, Arg


class _Everything(Arg):
    """All words that follow, options too, as they stand."""

    def __init__(self) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            flags=("words",), nargs=argparse.REMAINDER, help="a command of Manifold and its arguments"
        )

    def add_to_parser(self, parser: argparse.ArgumentParser) -> None:
        super().add_to_parser(parser)
        # Otherwise argparse would take `--help` for itself, and refuse every option that it does not know.
        parser.prefix_chars = "\0"


def get_commands() -> list[ActionCommand]:
    """What Airflow's command line learns of Manifold's, by the provider's `cli` key."""
    help_text = "Scatters: list, show, verify, redrive, control and repair them (`airflow manifold --help`)"
    return [ActionCommand(name="manifold", help=help_text, func=_run, args=(_Everything(),))]


def _run(arguments: argparse.Namespace) -> None:
    from manifold.cli import main

    main(arguments.words, name="airflow manifold")
