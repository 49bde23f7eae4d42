"""What there is to export of a run: of each trial the try that its official verdict judged, or else the last one.

A trial that left no work is left out, and named: an empty patch in its place would be one that an agent made.
"""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.swebench.predictions import MISSING
from results.run_directory import RunDirectory, TrialDirectory
from results.score import trial_result

PREDICTIONS = "all_preds.jsonl"
GRADING_FILES = ("report.json", "test_output.txt", "eval.sh", "run_instance.log", "apply_output.txt")
"""Of the logs of a grading, those that others look for; which there are depends on how far it came."""
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NAMED = 10


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


def works_of(run: RunDirectory, attempt: int, remarks: list[str]) -> list[Work]:
    """The work of one attempt, in the order of the tasks; `remarks` gets a sentence on those that left none.

    Raises DamagedFileError.
    """
    tasks = run.manifest.benchmark.task_ids
    found = {task_id: _work(run.trial(task_id, attempt)) for task_id in tasks}
    if missing := [task_id for task_id, work in found.items() if work is None]:
        remarks.append(f"attempt {attempt}: {len(missing)} tasks have no patch and are left out: {_named(missing)}")
    return [work for work in found.values() if work is not None]


def predictions_text(works: Sequence[Work], model: str, remarks: list[str]) -> str:
    """The lines of `all_preds.jsonl`; `remarks` gets a sentence for each patch that JSON cannot hold."""
    lines = [
        {"instance_id": one.task_id, "model_name_or_path": model, "model_patch": patch_text(one, remarks)}
        for one in works
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def patch_text(work: Work, remarks: list[str]) -> str:
    """The patch as JSON can hold it, with U+FFFD for bytes that are not UTF-8, of which `remarks` gets a sentence.

    Half surrogates would keep those bytes for Python alone: strict readers refuse a file that has them.
    """
    text = work.patch.decode("utf-8", "replace")
    if text.encode() != work.patch:
        sentence = (
            f"the patch of {work.task_id} is not UTF-8, which JSON cannot hold: what swebench reads has U+FFFD in "
            "place of those bytes, and may not apply; patch.diff has them"
        )
        if sentence not in remarks:
            remarks.append(sentence)
    return text


def copy_logs(below: Path, work: Work) -> None:
    """Make the folder of a task below another, with its patch and what the official grading left of it.

    Raises ExportError for a task whose id is no name of a folder.
    """
    if SAFE_NAME.fullmatch(work.task_id) is None:
        message = f"{work.task_id!r} cannot be the name of a folder, as the layout wants it"
        raise ExportError(message)
    logs = below / work.task_id
    logs.mkdir(parents=True)
    (logs / "patch.diff").write_bytes(work.patch)
    if work.grading is None:
        return
    for name in GRADING_FILES:
        if (work.grading / name).is_file():
            shutil.copyfile(work.grading / name, logs / name)


def remark_on_ungraded(works: Sequence[Work], remarks: list[str]) -> None:
    """Add a sentence on the work that has no official verdict, where there is such."""
    if ungraded := [one.task_id for one in works if one.grading is None]:
        remarks.append(f"{len(ungraded)} tasks have no official verdict, and so no report: {_named(ungraded)}")


def model_name(run: RunDirectory) -> str:
    """Who made the patches: the model as it was served, or else the agent."""
    manifest = run.manifest
    return manifest.backend.model if manifest.backend is not None else manifest.agent.name


def _work(trial: TrialDirectory) -> Work | None:
    result = trial_result(trial)
    number = result.verdict.try_number if result.verdict else result.try_number
    found = next((one for one in trial.tries() if one.number == number), None)
    if found is None or not found.patch_path.is_file() or result.detail == MISSING:
        return None
    patch = found.patch_path.read_bytes()
    if result.state == "error" and not patch.strip():  # an error kept it from working; nobody submitted that
        return None
    grading = trial.path / "verdicts" / str(result.verdict.number) if result.verdict else None
    return Work(trial.task_id, patch, found.trajectory_path, grading, result.state == "resolved")


def _named(tasks: Sequence[str]) -> str:
    return ", ".join(tasks[:_NAMED]) + (", …" if len(tasks) > _NAMED else "")
