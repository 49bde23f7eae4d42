"""What an earlier start of a run has finished, and what of the rest lies there to be judged."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evals.resume import ManifestChangedError, is_finished, left_work, same_run
from results.record_files import read_record
from results.records.events import BackendDescription, EndEvent, StartEvent
from results.records.manifest import AgentDescription, BenchmarkDescription, Extension, Manifest, SessionRecord
from results.records.outcome import ErrorSource, Outcome, TryEnd
from results.records.verdict import Verdict
from results.run_directory import RunDirectory, TrialDirectory, TryDirectory
from results.run_lock import RunBusyError, run_lock
from results.trajectory import TrajectoryWriter

BOTH = ("official", "hardened")
DONE = Outcome(exit="submitted")
BACKEND = BackendDescription(base_url="http://here:8000/v1", model="qwen", dialect="vllm")
MANIFEST = Manifest(
    run_id="run",
    benchmark=BenchmarkDescription(name="demo", source="bundled", content_sha256="0" * 64, task_ids=["task"]),
    agent=AgentDescription(name="default"),
    backend=BACKEND,
    harness_version="0",
)


def contents(task_ids: Sequence[str]) -> str:
    return "0" * 64 if list(task_ids) == ["task"] else "+".join(task_ids)


def of_tasks(task_ids: list[str], attempts: int = 1) -> Manifest:
    tasks = {"task_ids": task_ids, "content_sha256": contents(task_ids)}
    return MANIFEST.model_copy(update={"benchmark": MANIFEST.benchmark.model_copy(update=tasks), "attempts": attempts})


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path, MANIFEST)


@pytest.fixture
def trial(run: RunDirectory) -> TrialDirectory:
    return run.trials()[0]


def worked(trial: TrialDirectory, outcome: Outcome | None = DONE, patch: bytes | None = b"diff") -> TryDirectory:
    """A try as its agent left it; `outcome`: None where it never came to its end."""
    directory = trial.start_try()
    with TrajectoryWriter(directory.trajectory_path) as writer:
        writer.write(
            StartEvent(time=7, agent="default", backend=None, toolset="", tools=[], directory="/", sandbox="local")
        )
        if patch is not None:
            directory.write_patch(patch)
        if outcome:
            writer.write(EndEvent(time=9, outcome=outcome))
    return directory


def closed(trial: TrialDirectory, error: ErrorSource | None = None, patch: bytes | None = b"diff") -> TryDirectory:
    directory = worked(trial, patch=patch)
    ended(trial, directory, error)
    return directory


def ended(trial: TrialDirectory, directory: TryDirectory, error: ErrorSource | None) -> None:
    outcome = DONE.model_copy(update={"error": error})
    number, attempt = directory.number, trial.attempt
    directory.write_end(TryEnd(task_id="task", attempt=attempt, number=number, outcome=outcome, started=7, ended=9))


def judged(trial: TrialDirectory, *verifiers: str, broken: str = "") -> None:
    for verifier in verifiers:
        trial.append_verdict(
            Verdict(
                number=trial.next_verdict_number(), try_number=trial.tries()[-1].number, verifier=verifier,
                verifier_version="1", status="graded", reward=1, resolved=True, infrastructure=broken,
                image_id="sha256:0", started=1, ended=2,
            )
        )  # fmt: skip


def test_a_trial_that_nobody_began_is_open(trial: TrialDirectory) -> None:
    assert not is_finished(trial, BOTH)
    assert left_work(trial) is None


def test_who_ended_without_an_error_is_finished(trial: TrialDirectory) -> None:
    closed(trial)
    judged(trial, *BOTH)
    assert is_finished(trial, BOTH)


@pytest.mark.parametrize("error", ["backend", "sandbox", "image", "harness"])
def test_an_error_before_the_agent_came_to_its_end_gets_a_further_try(
    trial: TrialDirectory, error: ErrorSource
) -> None:
    directory = worked(trial, Outcome(exit="error", error=error))
    ended(trial, directory, error)
    assert not is_finished(trial, BOTH)
    assert left_work(trial) is None


def test_an_interrupted_agent_gets_a_further_try(trial: TrialDirectory) -> None:
    directory = worked(trial, Outcome(exit="interrupted", error="cancelled"))
    ended(trial, directory, "cancelled")
    assert not is_finished(trial, BOTH)
    assert left_work(trial) is None


@pytest.mark.parametrize("error", ["verifier", "cancelled"])
def test_work_that_could_not_be_judged_is_judged_now(trial: TrialDirectory, error: ErrorSource) -> None:
    closed(trial, error)
    judged(trial, "official")

    left = left_work(trial)

    assert not is_finished(trial, BOTH)
    assert left is not None
    assert (left.harvest.patch, left.harvest.outcome, left.harvest.started) == (b"diff", DONE, 7)
    assert left.judged_by == {"official"}


def test_what_was_judged_later_is_finished(trial: TrialDirectory) -> None:
    closed(trial, "verifier")
    judged(trial, *BOTH)
    assert is_finished(trial, BOTH)


def test_a_verdict_on_an_environment_that_broke_is_made_again(trial: TrialDirectory) -> None:
    closed(trial)
    judged(trial, "official", broken="no space left")
    assert not is_finished(trial, BOTH)
    assert (left := left_work(trial)) is not None
    assert left.judged_by == set()


def test_a_process_that_died_after_the_verdict_only_has_to_say_so(trial: TrialDirectory) -> None:
    worked(trial, patch=None)
    judged(trial, "official")

    left = left_work(trial)

    assert not is_finished(trial, ["official"])
    assert left is not None
    assert (left.harvest.patch, left.judged_by) == (None, {"official"})
    assert left.harvest.image_id == "sha256:0"


@pytest.mark.parametrize("patch", [None, b"diff"])
def test_an_agent_that_died_at_work_leaves_nothing(trial: TrialDirectory, patch: bytes | None) -> None:
    worked(trial, None, patch)
    assert left_work(trial) is None


def test_a_container_that_is_gone_cannot_be_judged_again(trial: TrialDirectory) -> None:
    worked(trial, patch=None)
    assert left_work(trial) is None


def test_who_has_a_verdict_gets_no_second_chance_for_another_verifier(trial: TrialDirectory) -> None:
    closed(trial, "verifier", patch=None)
    assert not is_finished(trial, BOTH)
    judged(trial, "official")
    assert is_finished(trial, BOTH)


def test_a_later_try_is_what_counts(trial: TrialDirectory) -> None:
    closed(trial)
    worked(trial, None)
    assert not is_finished(trial, BOTH)
    assert left_work(trial) is None


def test_the_same_run_may_be_served_elsewhere(run: RunDirectory) -> None:
    elsewhere = BACKEND.model_copy(update={"base_url": "http://elsewhere:8000/v1"})
    asked = MANIFEST.model_copy(update={"backend": elsewhere, "run_id": "another"})
    assert same_run(run, asked, contents).manifest == MANIFEST


@pytest.mark.parametrize(
    ("change", "named"),
    [({"harness_version": "77"}, r"harness_version.*77"), ({"attempts": 1}, "attempts: 2 and 1")],
)
def test_another_run_is_refused_with_what_differs(run: RunDirectory, change: dict[str, Any], named: str) -> None:
    run.manifest = run.manifest.model_copy(update={"attempts": 2})
    asked = MANIFEST.model_copy(update={"attempts": 2, **change})
    with pytest.raises(ManifestChangedError, match=named):
        same_run(run, asked, contents)


@pytest.mark.parametrize(
    ("asked", "grown"),
    [
        (["task"], ["task"]),
        (["b", "task", "a"], ["task", "b", "a"]),
    ],
)
def test_a_run_grows_behind_the_tasks_that_it_had(run: RunDirectory, asked: list[str], grown: list[str]) -> None:
    same = same_run(run, of_tasks(asked, attempts=3), contents)
    described = same.manifest.benchmark
    assert (described.task_ids, described.content_sha256, same.manifest.attempts) == (grown, contents(grown), 3)

    session = SessionRecord(started=1, manifest_sha256="0", machine="m", python="3", concurrency=1)
    extension = Extension.of(same.manifest)
    run.append_session(session.model_copy(update={"extension": extension}))
    run.append_session(session)
    again = RunDirectory.open(run.path)
    assert again.manifest == same.manifest
    assert read_record(run.path / "run.json", Manifest) == MANIFEST
    assert same_run(again, of_tasks(asked, attempts=3), contents).manifest == same.manifest


@pytest.mark.parametrize("asked", [["another"], []])
def test_a_run_loses_no_task(run: RunDirectory, asked: list[str]) -> None:
    with pytest.raises(ManifestChangedError, match=r"benchmark\.task_ids"):
        same_run(run, of_tasks(asked), contents)


def test_a_task_that_says_something_else_now_is_another_one(run: RunDirectory) -> None:
    with pytest.raises(ManifestChangedError, match=r"benchmark\.content_sha256"):
        same_run(run, of_tasks(["task", "more"]), lambda names: "changed" + contents(names))


HOLD = """
import sys
from pathlib import Path
from results.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    print()
    input()
"""


def test_one_process_at_a_time_is_at_work_on_a_run(run: RunDirectory) -> None:
    command = [sys.executable, "-c", HOLD, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with (
            pytest.raises(RunBusyError, match=f"process {process.pid} on .* is at work on run run"),
            run_lock(run.path),
        ):
            pass
        process.kill()
    with run_lock(run.path):
        pass
