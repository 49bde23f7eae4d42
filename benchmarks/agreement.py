"""Five patches on each real instance that is prepared here, judged by us and by swebench's own `run_evaluation`.

    python -m benchmarks.agreement --dataset verified.parquet [--instances GLOB]

prints what both said of gold, of a patch that only adds a note, of gold with its added lines emptied, of one that
applies nowhere and of none at all; the tests' own results have to be the same as well. Both judge one patch at a time,
with the network as the protocol has it. We give both of our verdicts, and the official one is compared.
Exit: 0 where all agree, 1 where two differ, 2 for what cannot be compared.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from evals.swebench.dataset import Row, load_dataset
from evals.swebench.grading import swebench_version
from results.records.verdict import Verdict
from results.run_directory import TrialDirectory, list_runs
from runners.docker_engine import connect

_NOTE = """diff --git a/a_note_on_this.txt b/a_note_on_this.txt
new file mode 100644
--- /dev/null
+++ b/a_note_on_this.txt
@@ -0,0 +1 @@
+Nothing else changes.
"""
_NOWHERE = """diff --git a/no/such/file.py b/no/such/file.py
--- a/no/such/file.py
+++ b/no/such/file.py
@@ -1,2 +1,2 @@
 first
-second
+third
"""
_REPORT_LISTS = {
    "resolved_ids": "resolved",
    "unresolved_ids": "not resolved",
    "error_ids": "does not apply",
    "empty_patch_ids": "empty",
}
_ADDED_LINE = re.compile(r"^\+(?!\+\+ ).*$", re.MULTILINE)


def empty_the_added_lines(patch: str) -> str:
    """The patch, with nothing in the lines that it adds: it applies, and does not do what it should."""
    return _ADDED_LINE.sub("+", patch)


PATCHES: dict[str, Callable[[Row], str]] = {
    "gold": lambda row: row.patch,
    "nop": lambda _: _NOTE,
    "wrong": lambda row: empty_the_added_lines(row.patch),
    "unappliable": lambda _: _NOWHERE,
    "empty": lambda _: "",
}


@dataclass(frozen=True)
class Opinion:
    """What was said of a patch."""

    said: str
    tests: object = None
    """The tests by what became of them, as `report.json` has them; None where none ran."""
    hardened: bool | None = field(default=None, compare=False)
    """Whether our other verdict is resolved as well."""


@dataclass(frozen=True)
class Comparison:
    """One kind of patch on all instances."""

    kind: str
    ours: dict[str, Opinion]
    theirs: dict[str, Opinion]
    our_seconds: float
    their_seconds: float

    def differing(self) -> list[str]:
        """The instances on which the two do not agree."""
        return [name for name, ours in self.ours.items() if self.theirs[name] != ours]


def compare(rows: Sequence[Row], kind: str, folder: Path) -> Comparison:
    """Have one kind of patch judged by both; `folder` is new, and keeps what both wrote.

    Raises subprocess.CalledProcessError when one of the commands fails.
    """
    folder.mkdir()
    (folder / "rows.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rows), "utf-8")
    said = [
        {"instance_id": row.instance_id, "model_name_or_path": "five", "model_patch": PATCHES[kind](row)}
        for row in rows
    ]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in said), "utf-8")
    our_seconds = _timed(
        [str(Path(sys.executable).parent / "evals"), "grade", "--predictions", "predictions.jsonl", "--dataset",
         "rows.jsonl", "--runs", "runs", "--verdicts", "both", "--verifications", "1"],
        folder,
    )  # fmt: skip
    their_seconds = _timed(
        [sys.executable, "-m", "swebench.harness.run_evaluation", "-d", "rows.jsonl", "-p", "predictions.jsonl",
         "-id", kind, "--max_workers", "1"],
        folder,
    )  # fmt: skip
    return Comparison(kind, _our_opinions(folder), _their_opinions(folder, kind), our_seconds, their_seconds)


def _timed(command: list[str], folder: Path) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - started


def _our_opinions(folder: Path) -> dict[str, Opinion]:
    (run,) = list_runs(folder / "runs").found
    return {trial.task_id: _our_opinion(trial) for trial in run.trials()}


def _our_opinion(trial: TrialDirectory) -> Opinion:
    official, hardened = trial.verdicts()
    tests = _tests(trial.verdict_files(official.number) / "report.json", trial.task_id)
    return Opinion(_said(official), tests, hardened.resolved)


def _said(verdict: Verdict) -> str:
    if verdict.status == "patch_failed":
        return "does not apply"
    if verdict.status == "empty_patch":
        return "empty"
    return "resolved" if verdict.resolved else "not resolved"


def _their_opinions(folder: Path, kind: str) -> dict[str, Opinion]:
    summary = json.loads((folder / f"five.{kind}.json").read_text("utf-8"))
    logs = folder / "logs" / "run_evaluation" / kind / "five"
    return {
        instance: Opinion(said, _tests(logs / instance / "report.json", instance))
        for key, said in _REPORT_LISTS.items()
        for instance in summary[key]
    }


def _tests(report: Path, instance: str) -> object:
    if not report.exists():
        return None
    return json.loads(report.read_text("utf-8"))[instance].get("tests_status")


def prepared_rows(dataset: str, instances: str) -> list[Row]:
    """The rows whose image is here."""
    client = connect()
    try:
        here = {tag for image in client.images.list() for tag in image.tags}
    finally:
        client.close()
    rows = load_dataset(dataset).select([instances]).rows
    return [row for row in rows if isinstance(row, Row) and row.image in here]


def main() -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.agreement", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--dataset", required=True, help="a file of SWE-bench Verified")
    parser.add_argument("--instances", default="*", metavar="GLOB", help="of those whose image is here, which")
    options = parser.parse_args()
    rows = prepared_rows(options.dataset, options.instances)
    if not rows:
        print(
            "error: no image of such an instance is here; docs/real-instances.md says how to make one", file=sys.stderr
        )
        return 2
    with TemporaryDirectory() as folder:
        comparisons = [compare(rows, kind, Path(folder) / kind) for kind in PATCHES]
    print(table(rows, comparisons))
    return 1 if any(each.differing() for each in comparisons) else 0


def table(rows: Sequence[Row], comparisons: Sequence[Comparison]) -> str:
    """What both said, as Markdown; a last row with the seconds of both."""
    lines = [
        f"| instance | {' | '.join(each.kind for each in comparisons)} |",
        "|---" * (len(comparisons) + 1) + "|",
        *(
            f"| {row.instance_id} | {' | '.join(_cell(each, row.instance_id) for each in comparisons)} |"
            for row in rows
        ),
    ]
    seconds = " | ".join(f"{each.our_seconds:.0f} s, {each.their_seconds:.0f} s" for each in comparisons)
    return "\n".join([*lines, f"| all of them, here and with swebench {swebench_version()} | {seconds} |"])


def _cell(comparison: Comparison, instance: str) -> str:
    ours, theirs = comparison.ours[instance], comparison.theirs[instance]
    if ours == theirs:
        return ours.said + " (hardened: not)" * (ours.said == "resolved" and not ours.hardened)
    return f"DIFFERS: {ours.said} here, {theirs.said} there" + (", tests differ" * (ours.tests != theirs.tests))


if __name__ == "__main__":
    sys.exit(main())
