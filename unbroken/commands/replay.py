"""`evals replay`: a run once more, with the responses that it has recorded, in fresh containers."""

from typing import TYPE_CHECKING, Annotated

import typer

from unbroken.commands import runs_place
from unbroken.commands.running import DONE, ERROR, INTERRUPTED, exit_code
from unbroken.commands.starting import Start, begun
from unbroken.invocation import Invocation

if TYPE_CHECKING:
    from evals.execution import RunResult
    from results.records.replay import ReplayedTrial, ReplayRecord
    from results.run_directory import RunDirectory

_SHOWN = 10


def replay(
    context: typer.Context,
    *,
    run: Annotated[str, typer.Argument(help="A folder, an id, or the beginning or the end of one.")],
    live_from: Annotated[
        int | None,
        typer.Option(
            "--live-from",
            min=1,
            metavar="STEP",
            help="From this step on, a model answers: the one that the run had, or that of --backend.",
        ),
    ] = None,
    runs: runs_place.Runs = None,
) -> None:
    """Run every trial again with the recorded responses of the model, and say what comes out otherwise.

    The score is reproduced without a model: each answer of a tool is compared, but for times, process ids and
    addresses, and each verdict. Options behind RUN stand in the place of those that the run was begun with: fewer
    tasks, how much is done at once. Exit: 0 all is the same, 1 something differs or could not be replayed.

    With --live-from, trials are forked: they go as they went up to a step, and from there as another model takes them.
    Exit: 1 where a trial went otherwise before that step, else as of any run.
    """
    from results.run_directory import find_run
    from unbroken.commands.evals import application

    recorded = find_run(runs_place.runs_directory(runs, [run]), run)
    if recorded.manifest.agent.command is not None:
        message = f"run {recorded.manifest.run_id} is of a command in the container, which asks as it likes: no replay"
        raise ValueError(message)
    if recorded.manifest.agent.mcp:
        message = (
            f"run {recorded.manifest.run_id} had tools of MCP servers, which are programs on this machine or live "
            "elsewhere, and answer as they like: no replay"
        )
        raise ValueError(message)
    if live_from is not None and recorded.manifest.backend is None:
        message = f"run {recorded.manifest.run_id} is of {recorded.manifest.agent.name}, which asks no model"
        raise ValueError(message)
    found, arguments = begun(recorded)
    if any(argument.startswith("--mcp") for argument in arguments):
        message = f"the command of run {recorded.manifest.run_id} starts MCP servers that its manifest does not have"
        raise ValueError(message)
    arguments = (*arguments, *context.args)
    application(list(arguments), prog_name="evals", obj=Invocation(arguments, replayed=found, live_from=live_from))


def concluded(start: Start, run: "RunDirectory", result: "RunResult") -> int:
    """What the command ends with; of a replay, tell what came out otherwise."""
    if start.stated:
        from unbroken.commands.from_manifest import tell_other_images

        tell_other_images(start.stated, run)
    if start.replayed is None:
        return exit_code(result)
    if result.interrupted:
        return INTERRUPTED
    from evals.replay import compare
    from results.shared_storage import storage_of

    record = compare(start.replayed, run)
    if storage := storage_of(run):
        storage.send(run.path)
    for trial in record.trials:
        _tell(trial)
    if record.live_from is not None:
        return _concluded_fork(record, result)
    same = sum(trial.agrees for trial in record.trials)
    observations = sum(trial.observations for trial in record.trials)
    typer.echo(
        f"{same} of {len(record.trials)} trials came to the same as in {record.run_id}, verdicts and observations "
        f"({observations} were compared)"
    )
    return DONE if same == len(record.trials) else ERROR


def _concluded_fork(record: "ReplayRecord", result: "RunResult") -> int:
    same = sum(trial.is_as_recorded for trial in record.trials)
    observations = sum(trial.observations for trial in record.trials)
    typer.echo(
        f"{same} of {len(record.trials)} trials went as in {record.run_id} up to step {record.live_from} "
        f"({observations} observations were compared)"
    )
    return exit_code(result) if same == len(record.trials) else ERROR


def _tell(trial: "ReplayedTrial") -> None:
    from results.visible_text import visible

    name = f"{trial.task_id}, attempt {trial.attempt}"
    if trial.problem:
        typer.echo(visible(f"{name}: not replayed: {trial.problem}"))
    if trial.recorded != trial.replayed:
        typer.echo(f"{name}: other verdicts: {_words(trial.recorded)}; now {_words(trial.replayed)}")
    for difference in trial.differences[:_SHOWN]:
        typer.echo(f"{name}: step {difference.step}, {difference.tool}, answer {difference.number} differs:")
        for mark, text in (("-", difference.first), ("+", difference.second)):
            typer.echo(visible(f"  {mark} {'(there is none)' if text is None else text}"))
    if (more := len(trial.differences) - _SHOWN) > 0:
        typer.echo(f"{name}: {more} more answers differ")


def _words(verdicts: dict[str, bool]) -> str:
    return ", ".join(f"{name} {'resolved' if resolved else 'not resolved'}" for name, resolved in verdicts.items())
