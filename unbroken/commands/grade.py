"""`evals grade`, `evals regrade` and `evals validate`: verdicts on patches that are there already."""

from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from unbroken.commands import runs_place
from unbroken.commands.option_groups import GroupedCommand, with_groups
from unbroken.commands.task_selection import TaskSelection
from unbroken.commands.verification import Verification, VerifierContainerOptions, load_pro_scripts

if TYPE_CHECKING:
    from evals.grade import GradeResult
    from evals.swebench.dataset import Dataset
    from evals.swebench.judging import Judging
    from results.records.outcome import Outcome
    from results.records.reliability import ReliableSet, TaskReliability
    from results.records.verdict import Verdict
    from results.run_directory import RunDirectory, TrialDirectory

DONE, ERROR, INTERRUPTED = 0, 1, 130
_NAMED = 5
T = TypeVar("T")
AtOnce = Annotated[int, typer.Option("--verifications", min=1, help="Patches that are judged at the same time.")]
Tries = Annotated[int, typer.Option(min=1, metavar="N", help="Tries at a verdict, the first included.")]


def register(application: typer.Typer) -> None:
    """Add the commands."""
    application.command(cls=GroupedCommand)(grade)
    application.command()(regrade)
    application.command(cls=GroupedCommand)(validate)


@with_groups
def grade(
    *,
    predictions: Annotated[Path, typer.Option(metavar="FILE", help="JSON or JSON Lines, of swebench or of Pro.")],
    dataset: Annotated[str, typer.Option(help="As for `evals swebench`. All of its tasks count, predicted or not.")],
    tasks: TaskSelection,
    runs: runs_place.Runs = None,
    verification: Verification,
    verifications: AtOnce = 2,
    tries: Tries = 2,
) -> None:
    """Judge the predictions of any tool, and record them as a run. A task without one counts as not resolved.

    Exit: 0 every task has a verdict, 1 some have none, 2 usage, 130 interrupted.
    """
    from evals.grade import grade as grade_predictions
    from evals.manifest import make_manifest
    from evals.swebench.predictions import pair, read_predictions
    from results.run_directory import RunDirectory, new_run_id
    from runners.sandbox_options import SandboxOptions

    whole, selected = tasks.load_both(dataset, _tell)
    found = read_predictions(predictions)
    paired = pair(selected, found, {row.instance_id for row in whole.rows})
    if paired.not_selected:
        _tell(f"left out: {len(paired.not_selected)} predictions for tasks that are not selected")
    judging = verification.asked(selected)
    who = next((one.model for _, one in paired.rows if one and one.model), None) or predictions.stem
    label = f"swebench:{selected.name}-{who.rpartition('/')[2]}"
    manifest = make_manifest(
        new_run_id(label), f"swebench:{selected.name}", selected, who, 1, SandboxOptions(), judging
    )
    run = RunDirectory.create(runs_place.own_runs_directory(runs), manifest)
    typer.echo(f"run {manifest.run_id}: {len(selected.rows)} tasks, {len(paired.missing)} of them without a prediction")
    works = [(row, prediction.patch if prediction else None) for row, prediction in paired.rows]
    progress = _Progress(len(works))
    result = _carried_out(grade_predictions(run, works, judging, progress, at_once=verifications, tries=tries))
    raise typer.Exit(_told(result))


def regrade(
    run: Annotated[str, typer.Argument(metavar="RUN", help="An id, its beginning or end, or the path of a folder.")],
    *,
    dataset: Annotated[
        str | None, typer.Option(help="Where the tasks are now, if they are no longer where the run had them from.")
    ] = None,
    complete_from: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="The same for the dataset that lent its columns to those tasks."),
    ] = None,
    pro_scripts: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="SWE-bench Pro's evaluation, as for `evals swebench`; it must be the same."),
    ] = None,
    runs: runs_place.Runs = None,
    verifications: AtOnce = 2,
    tries: Tries = 2,
) -> None:
    """Judge the patches of a run once more. Every trial gets another verdict; those that it has stay.

    Exit: 0 every patch has a new verdict, 1 some have none, 2 usage, 130 interrupted.
    """
    from evals.grade import regrade as regrade_run
    from results.run_directory import find_run

    found = find_run(runs_place.own_runs_directory(runs), run)
    if found.manifest.benchmark.name == "terminal-bench":
        message = (
            f"the work of {found.manifest.run_id} was judged in its containers, which are gone: there are no patches "
            "that could be judged once more"
        )
        raise typer.BadParameter(message, param_hint="RUN")
    loaded = _dataset_of(found, dataset, complete_from)
    judging = _judging_of(found, loaded, pro_scripts)
    rows = {row.instance_id: row for row in loaded.rows}
    progress = _Progress(len(found.trials()))
    result = _carried_out(regrade_run(found, rows, judging, progress, at_once=verifications, tries=tries))
    raise typer.Exit(_told(result))


@with_groups
def validate(
    *,
    dataset: Annotated[str, typer.Option(help="As for `evals swebench`, or `evals terminal-bench`.")],
    tasks: TaskSelection,
    output: Annotated[Path, typer.Option(help="The file of what was found; `--tasks` takes its reliable set.")],
    repeat: Annotated[int, typer.Option(min=1, metavar="N", help="How often each is judged.")] = 3,
    containers: VerifierContainerOptions,
    verifications: AtOnce = 2,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Find the tasks that can be believed: gold is always resolved, and nothing at all never.

    What is found is kept beside the output as soon as it is; the same command goes on after an interrupt.

    Exit: 0 all are reliable, 1 some are not, 2 usage, 130 interrupted.
    """
    from evals.terminal_bench.source_spelling import is_task_source
    from evals.validate import ValidationSettings
    from evals.validate import validate as validate_tasks
    from evals.validation_progress import progress_path
    from results.record_files import encode
    from results.whole_files import write_whole

    if output.exists() and not force:
        message = f"there is a {output} already; --force replaces it"
        raise typer.BadParameter(message, param_hint="--output")
    if output.is_dir() or not output.absolute().parent.is_dir():
        message = f"{output} is a folder, or is in a folder that does not exist"
        raise typer.BadParameter(message, param_hint="--output")
    progress = progress_path(output)
    if is_task_source(dataset):
        found = _carried_out(_validated_tasks(dataset, tasks, containers, repeat, verifications, progress))
    else:
        selected = tasks.load(dataset, _tell)
        settings = ValidationSettings(repeat, verifications, containers.judging(selected))
        found = _carried_out(validate_tasks(selected, settings, progress, _tell_reliability))
    write_whole(output, encode(found, indent=2) + b"\n")
    progress.unlink()
    typer.echo(f"{len(found.tasks)} of {len(found.found)} tasks are reliable: {output}")
    raise typer.Exit(DONE if len(found.tasks) == len(found.found) else ERROR)


def _validated_tasks(
    dataset: str,
    tasks: TaskSelection,
    containers: VerifierContainerOptions,
    repeat: int,
    at_once: int,
    progress: Path,
) -> "Coroutine[Any, Any, ReliableSet]":
    """The validation of tasks in Harbor's format, of which names alone can be asked for."""
    from dataclasses import replace

    from evals.terminal_bench.validate import TaskValidation, validate
    from unbroken.commands.terminal_bench import obtained_tasks, selected_tasks

    if replace(tasks, instances="") != TaskSelection() or containers != VerifierContainerOptions():
        message = "tasks in Harbor's format are chosen by --instances alone, and say themselves how they are judged"
        raise typer.BadParameter(message)
    obtained = obtained_tasks(dataset)
    selected = selected_tasks(obtained, tasks.instances or "*", "gold", skip_invalid=False)
    validation = TaskValidation(obtained.source, obtained.revision, selected, repeat, at_once)
    return validate(validation, progress, _tell_reliability, _tell)


def _carried_out(work: Coroutine[Any, Any, T]) -> T:
    """Wait for `work`, which a signal ends as Ctrl-C does: it cleans up, and what was judged is recorded."""
    import asyncio

    from agent.interrupts import cancelled_by_signals

    async def watched() -> T:
        task = asyncio.current_task()
        assert task is not None
        with cancelled_by_signals(task):
            return await work

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        _tell("interrupted: what was judged until then is kept")
        raise typer.Exit(INTERRUPTED) from None


def _tell_reliability(found: "TaskReliability") -> None:
    from results.visible_text import visible

    tests = [*found.flipping_tests, *found.failing_tests]
    named = f": {', '.join(tests[:_NAMED])}{' …' if len(tests) > _NAMED else ''}" if tests else ""
    why = f" ({found.detail})" if found.detail else ""
    running = "" if found.quiesced is None or found.quiesced else ", judged on what runs"
    typer.echo(visible(f"{found.task_id}  {found.reliability.replace('_', ' ')}{running}{named}{why}"))


def _judging_of(run: "RunDirectory", dataset: "Dataset[Any]", pro_scripts: Path | None) -> "Judging":
    """How the patches of a run are judged. Raises ProScriptsError, or a usage error where the scripts are others."""
    from evals.manifest import verifier_settings
    from evals.swebench.judging import Judging

    settings = verifier_settings(run.manifest)
    if dataset.kind != "pro":
        return Judging(settings)
    judging = Judging(settings, load_pro_scripts(dataset, pro_scripts))
    name = "verifier_scripts_sha256"
    if judging.description()[name] != run.manifest.sandbox.get(name):
        message = (
            f"these are not the scripts that the run {run.manifest.run_id} was judged by: their hash is another one"
        )
        raise typer.BadParameter(message, param_hint="--pro-scripts")
    return judging


def _dataset_of(run: "RunDirectory", dataset: str | None, complete_from: str | None) -> "Dataset[Any]":
    """The tasks as the run had them. Raises DatasetError, or a usage error where they are others by now."""
    import dataclasses

    from evals.swebench.dataset import Dataset, DatasetError, Row, load_dataset
    from evals.swebench.selection import Selection

    benchmark = run.manifest.benchmark
    if benchmark.name == "demo" and dataset is None:
        from evals.demo.suite import load_rows

        return Dataset("evals/demo", None, [Row.model_validate(row) for row in load_rows()])
    place = dataset or (f"{benchmark.source}@{benchmark.revision}" if benchmark.revision else benchmark.source)
    lender = complete_from or benchmark.completed_from
    try:
        whole = load_dataset(place, tell=_tell, complete_from=lender)
    except DatasetError as error:
        stated = "--dataset says" if lender is None else "--dataset and --complete-from say"
        message = f"{error}; {stated} where the tasks of the run are now"
        raise DatasetError(message) from error
    selected = whole.selected(Selection(ids=benchmark.task_ids))
    order = {task: number for number, task in enumerate(benchmark.task_ids)}  # that of a sample is its own
    loaded = dataclasses.replace(selected, rows=sorted(selected.rows, key=lambda row: order[row.instance_id]))
    if loaded.content_sha256() != benchmark.content_sha256:
        message = f"{place} no longer holds the tasks of the run {run.manifest.run_id}: their hash is another one"
        raise typer.BadParameter(message, param_hint="--dataset")
    return loaded


class _Progress:
    """Prints a line for each verdict."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._over = 0

    def __call__(self, trial: "TrialDirectory", outcome: "Outcome", verdicts: "Sequence[Verdict]") -> None:
        from results.visible_text import visible

        self._over += 1
        why = f" ({outcome.detail})" if outcome.detail else ""
        typer.echo(visible(f"[{self._over}/{self._total}] {trial.task_id}  {judged(verdicts)}{why}"))


def judged(verdicts: "Sequence[Verdict]") -> str:
    """What the verdicts on a trial say, in a few words."""
    from results.score import OFFICIAL

    said = {verdict.verifier: verdict for verdict in verdicts}
    if (official := said.pop(OFFICIAL, None)) is None:
        return "no verdict"
    words = _judged(official)
    others = [f"{name}: {_judged(verdict)}" for name, verdict in said.items() if verdict.resolved != official.resolved]
    return "; ".join([words, *others])


def _judged(verdict: "Verdict") -> str:
    return ("resolved" if verdict.resolved else "not resolved") + (f" ({verdict.detail})" if verdict.detail else "")


def _told(result: "GradeResult") -> int:
    for reason in result.leftovers:
        _tell(f"left behind, for `evals clean` to remove: {reason}")
    if result.without_work:
        named = ", ".join(result.without_work[:_NAMED]) + (" …" if len(result.without_work) > _NAMED else "")
        _tell(f"{len(result.without_work)} trials left nothing that could be judged: {named}")
    return ERROR if result.errors or result.without_work else DONE


def _tell(text: str) -> None:
    from results.visible_text import visible

    typer.echo(visible(text), err=True)
