"""`evals audit` and `evals export`: what can be made of a run that is there."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from unbroken.commands import runs_place

if TYPE_CHECKING:
    from evals.swebench.exports import Exported
    from results.records.audit import TraceAudit
    from results.run_directory import RunDirectory, TryDirectory

FLAGGED = 1
Run = Annotated[str, typer.Argument(metavar="RUN", help="An id, its beginning or end, or the path of a folder.")]
Format = Literal["predictions", "submission", "evaluation", "pro", "atif", "harbor"]
Split = Literal["test", "lite", "verified", "multilingual", "multimodal"]


def audit(
    run: Run,
    *,
    runs: runs_place.Runs = None,
    again: Annotated[
        bool, typer.Option("--again", help="Look through the trajectories anew, with the rules of this version.")
    ] = False,
) -> None:
    """Show what in the trajectories of a run looks like a leak or like cheating, with its line.

    Exit: 0 nothing, 1 something.
    """
    from results.run_directory import find_run
    from results.visible_text import one_line

    found = find_run(runs_place.own_runs_directory(runs), run)
    flagged = 0
    for directory, task_id in _tries(found):
        of_try = _audit(directory, task_id, again=again)
        flagged += bool(of_try.flags)
        for one in of_try.findings:
            where = f"{(directory.path / one.trajectory).relative_to(found.path)}:{one.line}"
            typer.echo(f"{task_id}  {one.severity}  {one.rule} ({one.success})  {where}  {one_line(one.excerpt)}")
    typer.echo(f"{flagged} tries with a leak or cheating that may have succeeded")
    raise typer.Exit(FLAGGED if flagged else 0)


def export(
    run: Run,
    *,
    output: Annotated[
        Path,
        typer.Option(
            help="The file; for evaluation the folder, for a submission, atif and harbor the one that it comes into."
        ),
    ],
    layout: Annotated[
        Format,
        typer.Option(
            "--format",
            help="predictions: swebench's all_preds.jsonl; submission: the leaderboard's folder; evaluation: the logs "
            "and the report of swebench's run_evaluation; pro: Pro's; atif: each trajectory as "
            "<task>.<attempt>.trajectory.json; harbor: a job folder that Harbor's viewer opens.",
        ),
    ] = "predictions",
    split: Annotated[
        Split | None,
        typer.Option(help="For a submission: the leaderboard's folder, where the dataset does not say it."),
    ] = None,
    attempt: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Only this attempt; unless given, all, each apart from the others."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    runs: runs_place.Runs = None,
) -> None:
    """Write the patches or the trajectories of a run as other tools read them."""
    from results.run_directory import find_run
    from results.visible_text import visible

    if split is not None and layout != "submission":
        raise typer.BadParameter("only --format submission has a folder of the leaderboard", param_hint="--split")
    exported = _export(
        find_run(runs_place.runs_directory(runs, [run]), run), output, layout, split, attempt, force=force
    )
    for remark in exported.remarks:
        typer.echo(visible(remark), err=True)
    for path in exported.paths:
        typer.echo(str(path))


def _export(
    run: "RunDirectory", output: Path, layout: Format, split: Split | None, attempt: int | None, *, force: bool
) -> "Exported":
    from evals.atif.documents import export_atif
    from evals.atif.harbor_folders import export_harbor
    from evals.swebench.exports import export_evaluation, export_predictions, export_pro, export_submission

    match layout:
        case "predictions":
            return export_predictions(run, output, attempt=attempt, force=force)
        case "submission":
            return export_submission(run, output, split=split, attempt=attempt, force=force)
        case "evaluation":
            return export_evaluation(run, output, attempt=attempt, force=force)
        case "pro":
            return export_pro(run, output, attempt=attempt, force=force)
        case "atif":
            return export_atif(run, output, attempt=attempt, force=force)
        case "harbor":
            return export_harbor(run, output, attempt=attempt, force=force)


def _tries(run: "RunDirectory") -> "list[tuple[TryDirectory, str]]":
    tries = [(directory, trial.task_id) for trial in run.trials() for directory in trial.tries()]
    return [(directory, task_id) for directory, task_id in tries if directory.trajectory_path.exists()]


def _audit(directory: "TryDirectory", task_id: str, *, again: bool) -> "TraceAudit":
    from evals.audit.record import audit_try, repository_of

    kept = None if again else directory.audit()
    return kept or audit_try(directory, repository_of(task_id))
