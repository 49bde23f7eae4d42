"""Runs in the spellings of others: swebench's predictions and logs, SWE-bench Pro's, a submission to the leaderboard.

What is exported of a trial is the try that its official verdict judged, or else the last one that ended. A trial
without a harvested patch is left out, and named: an empty patch in its place would be one that an agent made. Of
several attempts each gets a file, or a folder, of its own. Nothing is overwritten unless asked for.
"""

import json
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evals.swebench.predictions import MISSING
from evals.swebench.submission import Submission, write_submission
from results.run_directory import RunDirectory, TrialDirectory
from results.score import trial_result
from results.whole_files import write_whole

GRADING_FILES = ("report.json", "test_output.txt", "eval.sh", "run_instance.log", "apply_output.txt")
"""Of the logs of a grading, those that a submission has; which there are depends on how far it came."""
PREDICTIONS = "all_preds.jsonl"
EVALUATION_LOGS = "logs/run_evaluation"
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class ExportError(ValueError):
    """A run cannot be written in the spelling that was asked for, or there is something in its place."""


@dataclass(frozen=True)
class Work:
    """What there is of a trial. `grading` is the folder of the official verdict's logs, if it came to one."""

    task_id: str
    patch: bytes
    trajectory: Path
    grading: Path | None
    resolved: bool


@dataclass
class Exported:
    """What was written, and what a person should know of it, a sentence each."""

    paths: list[Path] = field(default_factory=list[Path])
    remarks: list[str] = field(default_factory=list[str])


def export_predictions(
    run: RunDirectory, out: Path, *, model: str | None = None, attempt: int | None = None, force: bool = False
) -> Exported:
    """Write `out` (`all_preds.jsonl`) as swebench reads it.

    With several attempts and none picked, `out` gets the number of each before its suffix. JSON has no bytes: a patch
    that is not UTF-8 has U+FFFD in their place, and is named. Raises ExportError, DamagedFileError.
    """

    def text(works: Sequence[Work], remarks: list[str]) -> str:
        return predictions_text(works, model or model_name(run), remarks)

    return _export_files(run, out, text, attempt, force=force)


def export_pro(
    run: RunDirectory, out: Path, *, prefix: str | None = None, attempt: int | None = None, force: bool = False
) -> Exported:
    """Write `out` as SWE-bench Pro's evaluation reads it: a list of `{instance_id, patch, prefix}`.

    Its evaluation counts only what is in the file; ours has the dataset as its denominator. Raises as above.
    """
    name = prefix or model_name(run).replace("/", "__")
    if _SAFE.fullmatch(name) is None:
        message = f"{name!r} cannot be a prefix, which begins file names: use letters, digits, '.', '_' and '-'"
        raise ExportError(message)

    def text(works: Sequence[Work], remarks: list[str]) -> str:
        entries = [{"instance_id": one.task_id, "patch": _patch_text(one, remarks), "prefix": name} for one in works]
        return json.dumps(entries, indent=2) + "\n"

    return _export_files(run, out, text, attempt, force=force)


def export_submission(
    run: RunDirectory,
    out: Path,
    *,
    submission: Submission | None = None,
    attempt: int | None = None,
    force: bool = False,
) -> Exported:
    """Write `<out>/evaluation/<split>/<date>_<model>/` in the layout of SWE-bench/experiments.

    Logs and trajectories are in it. Several attempts at once give a folder each, for the leaderboard takes one
    attempt. With `force` a folder is replaced as a whole, and only one that is such a submission. Raises ExportError,
    DamagedFileError.
    """
    if "verifier_scripts_sha256" in run.manifest.sandbox:
        message = "the leaderboard takes no runs of SWE-bench Pro, which has a spelling of its own: --format pro"
        raise ExportError(message)
    submission = submission or Submission.of(run, model_name(run))
    exported = Exported()
    planned = [
        (number, out / "evaluation" / submission.split / f"{submission.folder}{suffix}")
        for number, suffix in _attempts(run, attempt, "_attempt-")
    ]
    for _, folder in planned:
        _require_replaceable(folder, ("metadata.yaml", PREDICTIONS), force=force)
    for number, folder in planned:
        works = list(_works(run, number, exported.remarks))
        _replace_folder(folder, lambda new, works=works: _fill(new, run, submission, works, exported.remarks))
        exported.paths.append(folder)
    return exported


def export_evaluation(run: RunDirectory, out: Path, *, attempt: int | None = None, force: bool = False) -> Exported:
    """Write what swebench's `run_evaluation` leaves, so that its own tools, such as `make_run_report`, count it.

    That is `all_preds.jsonl` and, for each instance that was judged, a folder of logs,
    `logs/run_evaluation/<run>/<model>/<instance>/`. Several attempts give a folder each. Raises ExportError,
    DamagedFileError.
    """
    exported = Exported()
    planned = [
        (number, out.with_name(f"{out.name}{suffix}")) for number, suffix in _attempts(run, attempt, "_attempt-")
    ]
    for _, folder in planned:
        _require_replaceable(folder, (PREDICTIONS, EVALUATION_LOGS), force=force)
    for number, folder in planned:
        works = list(_works(run, number, exported.remarks))
        _replace_folder(folder, lambda new, works=works: _fill_evaluation(new, run, works, exported.remarks))
        exported.paths.append(folder)
    return exported


def predictions_text(works: Sequence[Work], model: str, remarks: list[str]) -> str:
    """The lines of `all_preds.jsonl`; `remarks` gets a sentence for each patch that JSON cannot hold."""
    lines = [
        {"instance_id": one.task_id, "model_name_or_path": model, "model_patch": _patch_text(one, remarks)}
        for one in works
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def model_name(run: RunDirectory) -> str:
    """Who made the patches: the model as it was served, or else the agent."""
    manifest = run.manifest
    return manifest.backend.model if manifest.backend is not None else manifest.agent.name


Text = Callable[[Sequence[Work], list[str]], str]


def _export_files(run: RunDirectory, out: Path, text: Text, attempt: int | None, *, force: bool) -> Exported:
    exported = Exported()
    planned = [
        (number, out.with_name(f"{out.stem}{suffix}{out.suffix}")) for number, suffix in _attempts(run, attempt, ".")
    ]
    for _, path in planned:
        if path.is_dir() or (path.exists() and not force):
            message = f"{path} is there already: choose another name, or --force to write over a file"
            raise ExportError(message)
    out.parent.mkdir(parents=True, exist_ok=True)
    for number, path in planned:
        works = list(_works(run, number, exported.remarks))
        exported.paths.append(write_whole(path, text(works, exported.remarks).encode()))
    return exported


def _attempts(run: RunDirectory, attempt: int | None, separator: str) -> list[tuple[int, str]]:
    """The attempts to export, each with what tells its name from the others'."""
    attempts = run.manifest.attempts
    if attempt is not None:
        if not 1 <= attempt <= attempts:
            message = f"the run {run.manifest.run_id} has no attempt {attempt}; it has {attempts}"
            raise ExportError(message)
        return [(attempt, "")]
    return [(number, f"{separator}{number}" if attempts > 1 else "") for number in range(1, attempts + 1)]


def _works(run: RunDirectory, attempt: int, remarks: list[str]) -> Iterator[Work]:
    missing: list[str] = []
    for task_id in run.manifest.benchmark.task_ids:
        work = _work(run.trial(task_id, attempt))
        if work is None:
            missing.append(task_id)
        else:
            yield work
    if missing:
        shown = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
        remarks.append(f"attempt {attempt}: {len(missing)} tasks have no patch and are left out: {shown}")


def _work(trial: TrialDirectory) -> Work | None:
    result = trial_result(trial)
    number = result.verdict.try_number if result.verdict else result.try_number
    found = next((one for one in trial.tries() if one.number == number), None)
    if found is None or not found.patch_path.is_file() or result.detail == MISSING:
        return None
    grading = trial.path / "verdicts" / str(result.verdict.number) if result.verdict else None
    return Work(
        trial.task_id, found.patch_path.read_bytes(), found.trajectory_path, grading, result.state == "resolved"
    )


def _patch_text(work: Work, remarks: list[str]) -> str:
    text = work.patch.decode("utf-8", "replace")
    if text.encode() != work.patch:
        sentence = (
            f"the patch of {work.task_id} is not UTF-8, which JSON cannot hold: what swebench reads has U+FFFD in "
            "place of those bytes, and may not apply; patch.diff has them"
        )
        if sentence not in remarks:
            remarks.append(sentence)
    return text


def _fill(folder: Path, run: RunDirectory, submission: Submission, works: Sequence[Work], remarks: list[str]) -> None:
    write_submission(folder, run, submission, resolved=sum(one.resolved for one in works), patches=len(works))
    predictions = predictions_text(works, submission.model, remarks)
    (folder / PREDICTIONS).write_text(predictions, "utf-8")
    (folder / "trajs").mkdir()
    for work in works:
        _copy_logs(folder / "logs" / _folder_name(work), work)
        if work.trajectory.is_file():
            shutil.copyfile(work.trajectory, folder / "trajs" / f"{work.task_id}.jsonl")
    ungraded = [one.task_id for one in works if one.grading is None]
    if ungraded:
        remarks.append(f"{len(ungraded)} tasks have no official verdict, and so no report: {', '.join(ungraded[:10])}")


def _fill_evaluation(folder: Path, run: RunDirectory, works: Sequence[Work], remarks: list[str]) -> None:
    model = model_name(run)
    (folder / PREDICTIONS).write_text(predictions_text(works, model, remarks), "utf-8")
    logs = folder / EVALUATION_LOGS / run.manifest.run_id / model.replace("/", "__")
    logs.mkdir(parents=True)
    for work in works:
        if work.grading is not None and work.patch.strip():
            _copy_logs(logs / _folder_name(work), work)


def _folder_name(work: Work) -> str:
    if _SAFE.fullmatch(work.task_id) is None:
        message = f"{work.task_id!r} cannot be the name of a folder, as the layout wants it"
        raise ExportError(message)
    return work.task_id


def _copy_logs(logs: Path, work: Work) -> None:
    logs.mkdir(parents=True)
    (logs / "patch.diff").write_bytes(work.patch)
    for name in GRADING_FILES if work.grading is not None else ():
        assert work.grading is not None
        if (work.grading / name).is_file():
            shutil.copyfile(work.grading / name, logs / name)


def _require_replaceable(folder: Path, marks: Sequence[str], *, force: bool) -> None:
    """Raise ExportError for what is there already, unless it is to be replaced and has the `marks` of its kind."""
    if not folder.exists():
        return
    if not force:
        message = f"{folder} is there already: choose another place, or --force to replace it"
        raise ExportError(message)
    if not all((folder / mark).exists() for mark in marks):
        message = f"{folder} is no export of this kind (it lacks {' or '.join(marks)}), so it is not replaced"
        raise ExportError(message)


def _replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a new folder beside `folder`, then put it in its place: it is whole, or as it was."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(4)
    new, old = (folder.with_name(f".{folder.name}.{kind}-{mark}") for kind in ("new", "old"))
    try:
        new.mkdir()
        fill(new)
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
