"""Runs as tests of exports need them: tries, patches and verdicts with the logs of their grading."""

import json
from pathlib import Path
from typing import Any

from results.records.events import BackendDescription
from results.records.manifest import AgentDescription, BenchmarkDescription, Manifest, SessionRecord
from results.records.outcome import Outcome, TryEnd
from results.records.verdict import Verdict
from results.run_directory import RunDirectory

TASKS = ["org__one-1", "org__two-2", "org__three-3"]
PATCH = "diff --git a/ü b/ü\r\n+x\n".encode()


def run_in(folder: Path, attempts: int = 1, **changes: Any) -> RunDirectory:
    """A run with sessions and nothing done."""
    backend = BackendDescription(base_url="http://127.0.0.1:1/v1", model="org/Model-3B", dialect="generic")
    benchmark = BenchmarkDescription(
        name="swebench", source="SWE-bench/SWE-bench_Verified", revision="abc", content_sha256="0" * 64, task_ids=TASKS
    )
    settings: dict[str, Any] = {"benchmark": benchmark, "attempts": attempts, "backend": backend, **changes}
    run = RunDirectory.create(
        folder,
        Manifest(
            run_id="20261130-160000-x-1", agent=AgentDescription(name="default"), harness_version="0.1.0", **settings,
        ),
    )  # fmt: skip
    run.append_session(SessionRecord(started=1796040000, manifest_sha256="0", machine="m", python="3", concurrency=1))
    return run


def work_on(
    run: RunDirectory, task: str, patch: bytes | None, attempt: int = 1, *, resolved: bool | None = True
) -> None:
    """One more try; with a verdict and the logs of its grading unless `resolved` is None."""
    trial = run.trial(task, attempt)
    one = trial.start_try()
    one.trajectory_path.write_text(f"trajectory {task} {attempt}.{one.number}")
    if patch is not None:
        one.write_patch(patch)
    outcome = Outcome(exit="finished") if patch is not None else Outcome(exit="error", error="sandbox")
    one.write_end(TryEnd(task_id=task, attempt=attempt, number=one.number, outcome=outcome, started=1, ended=2))
    if resolved is None:
        return
    number = trial.next_verdict_number()
    files = trial.verdict_files(number)
    (files / "report.json").write_text(json.dumps({task: {"resolved": resolved}}))
    (files / "test_output.txt").write_text(f"log {number}")
    (files / "eval.sh").write_text("true")
    trial.append_verdict(
        Verdict(
            number=number, try_number=one.number, verifier="official", verifier_version="v", status="graded",
            reward=float(resolved), resolved=resolved, started=1, ended=2,
        )
    )  # fmt: skip


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
