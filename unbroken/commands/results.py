"""`results`: what came out of runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unbroken.commands import runs_place

if TYPE_CHECKING:
    from results.reliable_score import ReliableScore
    from results.run_directory import RunDirectory
    from results.summary import RunSummary

application = typer.Typer(
    name="results",
    help="Look at what came out of runs.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@application.command("list")
def list_command(runs: runs_place.Runs = None, as_json: JsonOption = False) -> None:
    """All runs, newest first, each with its score."""
    folder = _runs_folder(runs)
    summaries, damaged = _summaries(folder)
    if as_json:
        _print_json({"runs": [summary.model_dump(mode="json") for summary in summaries], "damaged": damaged})
        return
    if summaries:
        from results.tables import new_console, run_table

        new_console().print(run_table(summaries))
    elif not damaged:
        typer.echo(f"there are no runs in {folder} yet; `evals demo` makes two")
    for sentence in damaged:
        typer.echo(f"cannot be shown: {sentence}", err=True)


@application.command("show")
def show_command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="An id, its beginning or end, or the path of a folder.")],
    trial: Annotated[
        str | None, typer.Option("--trial", metavar="TASK", help="Show only the trials of one task, in full.")
    ] = None,
    tasks: Annotated[
        Path | None,
        typer.Option("--tasks", metavar="FILE", help="Also the score on the reliable tasks of `evals validate`."),
    ] = None,
    runs: runs_place.Runs = None,
    as_json: JsonOption = False,
) -> None:
    """One run: its score, what it took, every trial."""
    from results.run_directory import find_run

    if trial is not None and tasks is not None:
        raise typer.BadParameter("a single task has no score (--trial is given)", param_hint="--tasks")
    found = find_run(_runs_folder(runs, [run]), run)
    if trial is None:
        _show_run(found, _reliable(found, tasks), as_json=as_json)
    else:
        _show_trials(found, trial, as_json=as_json)


def _runs_folder(stated: str | None, names: Sequence[str] | None = None) -> Path:
    folder = runs_place.runs_directory(stated, names)
    if stated is not None and not folder.is_dir():
        message = f"there is no folder {stated}"
        raise typer.BadParameter(message, param_hint="--runs")
    return folder


def _summaries(folder: Path) -> "tuple[list[RunSummary], list[str]]":
    from results.record_files import DamagedFileError
    from results.run_directory import list_runs
    from results.summary import summarise

    found, damaged = list_runs(folder)
    summaries: list[RunSummary] = []
    for run in found:
        try:
            summaries.append(summarise(run))
        except DamagedFileError as error:
            damaged.append(str(error))
    return summaries, damaged


def _reliable(run: "RunDirectory", file: Path | None) -> "ReliableScore | None":
    from results.record_files import DamagedFileError
    from results.reliable_score import ReliableScoreError, reliable_score

    if file is None:
        return None
    try:
        return reliable_score(run, file)
    except (DamagedFileError, ReliableScoreError) as error:
        raise typer.BadParameter(str(error), param_hint="--tasks") from error


def _show_run(run: "RunDirectory", reliable: "ReliableScore | None", *, as_json: bool) -> None:
    from results.summary import describe

    details = describe(run)
    if as_json:
        on_reliable = {"reliable": reliable.model_dump(mode="json")} if reliable else {}
        _print_json({**details.model_dump(mode="json"), **on_reliable})
        return
    from results.facts import run_facts
    from results.reliable_score import reliable_facts
    from results.tables import new_console, print_facts, trial_table

    console = new_console()
    print_facts(console, [*run_facts(details), *(reliable_facts(reliable) if reliable else ())])
    console.print()
    console.print(trial_table(details.trials, with_model=details.manifest.backend is not None))


def _show_trials(run: "RunDirectory", name: str, *, as_json: bool) -> None:
    from results.summary import describe_trial

    task_id = _task_id(run.manifest.benchmark.task_ids, name)
    shown = [describe_trial(trial) for trial in run.trials() if trial.task_id == task_id]
    if as_json:
        _print_json([details.model_dump(mode="json") for details in shown])
        return
    from results.facts import trial_facts
    from results.tables import new_console, print_facts

    console = new_console()
    for position, details in enumerate(shown):
        if position:
            console.print()
        print_facts(console, trial_facts(details, run.manifest))


def _task_id(task_ids: Sequence[str], name: str) -> str:
    if name in task_ids:
        return name
    candidates = [task_id for task_id in task_ids if name and name in task_id]
    if len(candidates) == 1:
        return candidates[0]
    shown = ", ".join((candidates or list(task_ids))[:10])
    message = f"{name!r} could be any of: {shown}" if candidates else f"the run has no task {name!r}; it has: {shown}"
    raise typer.BadParameter(message, param_hint="--trial")


def _print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=2))
