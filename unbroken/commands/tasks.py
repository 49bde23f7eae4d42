"""The commands `evals tasks`: what can be known about tasks without running them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from evals.terminal_bench.dataset_directory import FoundTasks

application = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Look at tasks without running them.")

INVALID = 2


@application.callback()
def tasks() -> None:
    """Look at tasks without running them."""


@application.command()
def check(
    path: Annotated[Path, typer.Argument(help="A task in Harbor's format (Terminal-Bench), or a directory of them.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which tasks could be run, and of each other one the file, the key and the reason.

    Exit: 0 all could be run, 2 some could not.
    """
    import json

    from evals.terminal_bench.dataset_directory import NoTasksError, find_tasks

    try:
        found = find_tasks(path)
    except NoTasksError as error:
        raise typer.BadParameter(str(error), param_hint="PATH") from error
    if as_json:
        typer.echo(json.dumps(_as_json(found), indent=2))
    else:
        _print(found)
    raise typer.Exit(INVALID if found.invalid else 0)


def _print(found: "FoundTasks") -> None:
    from results.visible_text import visible

    for error in found.invalid:
        for problem in error.problems:
            typer.echo(visible(f"{error.path.name}: {problem}"))
    for task in found.tasks:
        for warning in task.warnings:
            typer.echo(visible(f"{task.path.name}: {warning}"), err=True)
    if found.others:
        names = ", ".join(each.name for each in found.others)
        typer.echo(visible(f"these have nothing of a task: {names}"), err=True)
    typer.echo(f"{len(found.tasks)} of {len(found.tasks) + len(found.invalid)} tasks could be run")


def _as_json(found: "FoundTasks") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "tasks": [
            {"name": task.name, "path": str(task.path), "warnings": [asdict(each) for each in task.warnings]}
            for task in found.tasks
        ],
        "invalid": [
            {"path": str(error.path), "problems": [asdict(each) for each in error.problems]} for error in found.invalid
        ],
        "others": [str(each) for each in found.others],
    }
