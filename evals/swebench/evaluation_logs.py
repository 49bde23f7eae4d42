"""What swebench's `run_evaluation` leaves of a run, so that its own tools count ours, and grade its logs again.

Its layout is `logs/run_evaluation/<run>/<model>/<instance>/` and, in the folder above, `<model>.<run>.json`. That
report on the run is made by swebench's own `make_run_report` from the logs as they stand there.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from evals.swebench.exported_work import (
    PREDICTIONS,
    ExportError,
    Work,
    copy_logs,
    model_name,
    predictions_text,
    remark_on_ungraded,
)
from evals.swebench.grading import GraderError
from results.run_directory import RunDirectory

LOGS = "logs/run_evaluation"
_LONGEST_NAME = 255
"""Bytes of a file's name."""
_REPORT = """
import json, sys
from pathlib import Path
from swebench.harness.reporting import make_run_report
lines = Path(sys.argv[1]).read_text().splitlines()
predictions = {one["instance_id"]: one for one in map(json.loads, lines)}
make_run_report(predictions, [{"instance_id": one} for one in json.load(sys.stdin)], sys.argv[2])
"""
_DEADLINE = 600.0


def write_evaluation(folder: Path, run: RunDirectory, works: Sequence[Work], remarks: list[str]) -> None:
    """Fill `folder` with predictions, logs and swebench's report on them.

    Raises ExportError for a model whose name can be no folder, GraderError where swebench's code fails.
    """
    model = model_name(run)
    name = _folder_of(model, run.manifest.run_id)
    (folder / PREDICTIONS).write_text(predictions_text(works, model, remarks), "utf-8")
    logs = folder / LOGS / run.manifest.run_id / name
    logs.mkdir(parents=True)
    for work in works:
        if work.grading is not None and work.patch.strip():  # of an empty patch swebench runs no tests
            copy_logs(logs, work)
    remark_on_ungraded(works, remarks)
    if works:
        _write_report(folder, run)
    else:
        remarks.append("there are no predictions, and of none swebench makes no report")


def _folder_of(model: str, run_id: str) -> str:
    """The name of the model as swebench makes a folder's and a file's of it."""
    name = model.replace("/", "__")
    too_long = len(f"{name}.{run_id}.json".encode("utf-8", "replace")) > _LONGEST_NAME
    if not name or name in (".", "..") or too_long or not name.isprintable():
        message = f"{model!r} cannot be the name of a folder, which swebench makes of a model's name"
        raise ExportError(message)
    return name


def _write_report(folder: Path, run: RunDirectory) -> None:
    try:
        subprocess.run(
            [sys.executable, "-I", "-X", "utf8", "-c", _REPORT, PREDICTIONS, run.manifest.run_id],
            cwd=folder, input=json.dumps(run.manifest.benchmark.task_ids), encoding="utf-8", check=True,
            capture_output=True, timeout=_DEADLINE,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        said = str(error.stderr).strip().splitlines()[-1:]
        message = f"swebench's report on the run could not be made: {' '.join(said) or f'exit {error.returncode}'}"
        raise GraderError(message) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"swebench's report on the run could not be made: {error}"
        raise GraderError(message) from error
