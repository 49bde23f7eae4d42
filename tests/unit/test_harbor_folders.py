"""Runs as Harbor's job folders, and as ATIF documents in files: what its viewer reads is there, and is true."""

import json
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import pydantic_core
import pytest
from export_desk import PATCH, TASKS, files_below, run_in
from typer.testing import CliRunner

from evals.atif.documents import export_atif
from evals.atif.harbor_folders import export_harbor
from evals.atif.records import Trajectory
from evals.swebench.exported_work import ExportError
from results.records.events import EndEvent, Event, MessageEvent, Received, ResponseEvent, StartEvent
from results.records.manifest import BenchmarkDescription
from results.records.outcome import ErrorSource, Exit, Outcome, TryEnd
from results.records.usage import Usage
from results.records.verdict import StepVerdict, Verdict, VerdictStatus
from results.run_directory import RunDirectory, TrialDirectory, TryDirectory, task_slug
from results.trajectory import TrajectoryWriter
from unbroken.commands.evals import application

SAID: list[Event] = [
    StartEvent(time=20, agent="default", backend=None, toolset="", tools=[], directory="/w", sandbox="local"),
    MessageEvent(time=21, sent={"role": "user", "content": "Mend it."}),
    ResponseEvent(time=22, step=1, received=Received(content="Done."), usage=Usage(), seconds=1.0),
    EndEvent(time=30, outcome=Outcome(exit="finished")),
]
USAGE = Usage(prompt_tokens=1000, cached_tokens=800, output_tokens=50)
JOB = "20261130-160000-x-1"


def say(path: Path, events: list[Event] = SAID) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with TrajectoryWriter(path) as writer:
        for event in events:
            writer.write(event)


def begin(run: RunDirectory, task: str, attempt: int = 1) -> tuple[TrialDirectory, TryDirectory]:
    trial = run.trial(task, attempt)
    return trial, trial.start_try()


def end(trial: TrialDirectory, one: TryDirectory, code: Exit = "finished", error: ErrorSource | None = None) -> None:
    outcome = Outcome(exit=code, error=error, detail="it says why" if error else "", usage=USAGE, cost=0.5)
    one.write_end(
        TryEnd(task_id=trial.task_id, attempt=trial.attempt, number=one.number, outcome=outcome, started=10, ended=50)
    )


def judge(trial: TrialDirectory, one: TryDirectory, reward: float, **changes: Any) -> Path:
    """A verdict, and the folder for what the tests left."""
    number = trial.next_verdict_number()
    files = trial.verdict_files(number)
    facts: dict[str, Any] = {"verifier": "official", "status": "graded", **changes}
    trial.append_verdict(
        Verdict(
            number=number, try_number=one.number, verifier_version="v", reward=reward, resolved=reward >= 1,
            started=31, ended=45, **facts,
        )
    )  # fmt: skip
    return files


def whole_trial(run: RunDirectory, task: str, reward: float = 1.0, attempt: int = 1) -> Path:
    trial, one = begin(run, task, attempt)
    say(one.trajectory_path)
    end(trial, one)
    return judge(trial, one, reward)


def terminal_run(folder: Path, *tasks: str) -> RunDirectory:
    benchmark = BenchmarkDescription(
        name="terminal-bench", source="/nowhere/tasks", content_sha256="1" * 64, task_ids=list(tasks)
    )
    return run_in(folder, benchmark=benchmark)


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


def trial_folder(jobs: Path, task: str, attempt: int = 1) -> Path:
    return jobs / JOB / f"{task_slug(task)}__{attempt}"


def test_a_trial_of_swebench_has_everything_that_the_viewer_reads(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs")
    trial, one = begin(run, TASKS[0])
    say(one.trajectory_path)
    one.write_patch(PATCH)
    end(trial, one)
    (judge(trial, one, 1.0) / "test_output.txt").write_text("1 passed")
    export_harbor(run, tmp_path / "jobs")
    folder = trial_folder(tmp_path / "jobs", TASKS[0])
    assert files_below(folder) == [
        "agent/trajectory.json",
        "artifacts/patch.diff",
        "config.json",
        "result.json",
        "trial.log",
        "verifier/reward.txt",
        "verifier/test-stdout.txt",
        "verifier/verdict.json",
    ]
    assert Trajectory.model_validate_json((folder / "agent/trajectory.json").read_bytes()).steps[1].message == "Done."
    assert (folder / "artifacts/patch.diff").read_bytes() == PATCH
    assert (folder / "verifier/test-stdout.txt").read_text() == "1 passed"
    assert (folder / "verifier/reward.txt").read_text() == "1\n"
    result = read(folder / "result.json")
    assert result["config"] == read(folder / "config.json")
    assert result["config"]["task"] == {"path": TASKS[0], "source": "swebench"}
    assert result["config"]["job_id"] == read(tmp_path / "jobs" / JOB / "result.json")["id"]
    assert uuid.UUID(result["id"])
    assert (result["task_name"], result["trial_name"]) == (TASKS[0], folder.name)
    assert result["trial_uri"] == folder.as_uri()
    assert result["task_id"] == {"path": TASKS[0]}
    assert result["task_checksum"] == "0" * 64
    model = {"name": "org/Model-3B", "provider": "generic"}
    assert result["agent_info"] == {"name": "default", "version": "0.1.0", "model_info": model}
    took = result["agent_result"]
    assert (took["n_input_tokens"], took["n_cache_tokens"], took["n_output_tokens"]) == (1000, 800, 50)
    assert (took["cost_usd"], took["metadata"]["exit"]) == (0.5, "finished")
    assert result["verifier_result"] == {"rewards": {"reward": 1.0}}
    assert "exception_info" not in result
    phases = [result, *(result[name] for name in ("environment_setup", "agent_execution", "verifier"))]
    assert [(seconds(one["started_at"]), seconds(one["finished_at"])) for one in phases] == [
        (10, 50),
        (10, 20),
        (20, 30),
        (31, 45),
    ]


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_trial_of_terminal_bench_keeps_what_its_tests_left(tmp_path: Path) -> None:
    run = terminal_run(tmp_path / "runs", "org/weigh")
    trial, one = begin(run, "org/weigh")
    say(one.trajectory_path)
    (one.artifacts / "app").mkdir()
    (one.artifacts / "app/out.txt").write_text("42")
    end(trial, one)
    left = judge(trial, one, 0.75, rewards={"reward": 0.75, "style": 1.0}) / "verifier"
    left.mkdir()
    (left / "test-stdout.txt").write_text("ok")
    (left / "reward.json").write_text('{"reward": 0.75, "style": 1}')
    (left / "ctrf.json").write_text("{}")
    (left / "passwd").symlink_to("/etc/passwd")
    export_harbor(run, tmp_path / "jobs")
    folder = trial_folder(tmp_path / "jobs", "org/weigh")
    assert files_below(folder / "verifier") == ["ctrf.json", "reward.json", "test-stdout.txt", "verdict.json"]
    assert (folder / "verifier/reward.json").read_text() == '{"reward": 0.75, "style": 1}'
    assert (folder / "artifacts/app/out.txt").read_text() == "42"
    assert not (folder / "verifier/passwd").is_symlink()
    result = read(folder / "result.json")
    assert (result["task_name"], result["source"]) == ("org/weigh", "terminal-bench")
    assert result["verifier_result"]["rewards"] == {"reward": 0.75, "style": 1.0}


def test_the_steps_of_a_task_have_folders_of_their_own_in_their_order(tmp_path: Path) -> None:
    run = terminal_run(tmp_path / "runs", "two")
    trial, one = begin(run, "two")
    say(one.trajectory_path, SAID[-1:])
    for number, step in enumerate(("zero", "after")):
        events = [event.model_copy(update={"time": event.time + 100 * number}) for event in SAID]
        say(one.path / "steps" / step / "trajectory.jsonl", events)
    judged = one.artifacts / "steps/zero/judged-official/verifier"
    judged.mkdir(parents=True)
    (judged / "reward.txt").write_text("0.5")
    (one.artifacts / "steps/zero/made.txt").write_text("by zero")
    end(trial, one)
    zero = StepVerdict(name="zero", status="graded", reward=0.5, rewards={"style": 0.5})
    left = judge(trial, one, 1.0, steps=[zero]) / "verifier"
    left.mkdir()
    (left / "reward.txt").write_text("1")
    export_harbor(run, tmp_path / "jobs")
    folder = trial_folder(tmp_path / "jobs", "two")
    assert files_below(folder / "steps") == [
        "after/agent/trajectory.json",
        "after/verifier/reward.txt",
        "zero/agent/trajectory.json",
        "zero/artifacts/made.txt",
        "zero/verifier/reward.txt",
    ]
    assert (folder / "steps/zero/verifier/reward.txt").read_text() == "0.5"
    result = read(folder / "result.json")
    assert [step["step_name"] for step in result["step_results"]] == ["zero", "after"]
    assert result["step_results"][0]["verifier_result"] == {"rewards": {"style": 0.5}}
    phase = result["agent_execution"]
    assert (seconds(phase["started_at"]), seconds(phase["finished_at"])) == (20, 130)
    assert files_below(folder / "artifacts") == []
    export_atif(run, tmp_path / "atif")
    assert files_below(tmp_path / "atif") == ["two.1.after.trajectory.json", "two.1.zero.trajectory.json"]


@pytest.mark.parametrize(
    ("code", "error", "name"),
    [
        ("error", "sandbox", "SandboxError"),
        ("error", "backend", "UnknownApiError"),
        ("error", "image", "SandboxBuildFailedError"),
        ("finished", "verifier", "VerifierError"),
        ("error", "harness", "HarnessError"),
        ("interrupted", "cancelled", "CancelledError"),
        ("limit:time", None, "AgentTimeoutError"),
        ("limit:context", None, "ContextLengthExceededError"),
    ],
)
def test_what_ended_a_trial_is_an_exception(tmp_path: Path, code: Exit, error: ErrorSource | None, name: str) -> None:
    run = run_in(tmp_path / "runs")
    end(*begin(run, TASKS[0]), code, error)
    export_harbor(run, tmp_path / "jobs")
    folder = trial_folder(tmp_path / "jobs", TASKS[0])
    result = read(folder / "result.json")
    message = "it says why" if error else f"the work ended with {code}"
    assert result["exception_info"]["exception_type"] == name
    assert result["exception_info"]["exception_message"] == message
    assert (folder / "exception.txt").read_text() == f"{name}: {message}\n"
    assert "verifier_result" not in result
    assert files_below(folder / "verifier") == []


@pytest.mark.parametrize("code", ["finished", "submitted", "limit:steps", "limit:tokens", "refused"])
def test_other_endings_are_none(tmp_path: Path, code: Exit) -> None:
    run = run_in(tmp_path / "runs")
    end(*begin(run, TASKS[0]), code)
    export_harbor(run, tmp_path / "jobs")
    result = read(trial_folder(tmp_path / "jobs", TASKS[0]) / "result.json")
    assert "exception_info" not in result
    assert result["agent_result"]["metadata"]["exit"] == code


def test_a_try_that_was_killed_is_shown_as_cancelled_with_what_it_said(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs")
    _, one = begin(run, TASKS[0])
    say(one.trajectory_path, SAID[:2])
    with one.trajectory_path.open("a") as file:
        file.write('{"type": "resp')
    exported = export_harbor(run, tmp_path / "jobs")
    folder = trial_folder(tmp_path / "jobs", TASKS[0])
    assert read(folder / "result.json")["exception_info"]["exception_type"] == "CancelledError"
    assert [step["message"] for step in read(folder / "agent/trajectory.json")["steps"]] == ["Mend it."]
    assert len(exported.remarks) == 1  # on the line that was cut


@pytest.mark.parametrize("status", ["no_results", "timed_out"])
def test_no_file_with_a_reward_is_made_up_where_the_tests_left_none(tmp_path: Path, status: VerdictStatus) -> None:
    run = run_in(tmp_path / "runs")
    trial, one = begin(run, TASKS[0])
    end(trial, one)
    judge(trial, one, 0.0, status=status)
    export_harbor(run, tmp_path / "jobs")
    assert files_below(trial_folder(tmp_path / "jobs", TASKS[0]) / "verifier") == ["verdict.json"]


def test_the_try_and_the_verdict_that_count_are_shown_and_the_log_names_all(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs")
    whole_trial(run, TASKS[0], 0.0)
    trial = run.trial(TASKS[0], 1)
    judge(trial, trial.tries()[0], 1.0)
    judge(trial, trial.tries()[0], 0.0, verifier="hardened", flags=["conftest.py"])
    trial.start_try()
    export_harbor(run, tmp_path / "jobs")
    folder = trial_folder(tmp_path / "jobs", TASKS[0])
    assert read(folder / "result.json")["verifier_result"]["rewards"] == {"reward": 1.0}
    assert read(folder / "verifier/verdict.json")["number"] == 2
    assert read(folder / "agent/trajectory.json")["trajectory_id"] == f"{JOB}/{TASKS[0]}/1/1"
    log = (folder / "trial.log").read_text()
    assert "verdict 2, official (counts): graded, reward 1" in log
    assert "verdict 3, hardened: graded, reward 0" in log
    assert "conftest.py" in log


def test_half_a_surrogate_pair_keeps_nobody_from_reading_a_result(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs")
    trial, one = begin(run, TASKS[0])
    outcome = Outcome(exit="error", error="backend", detail="it said \ud800")
    one.write_end(TryEnd(task_id=TASKS[0], attempt=1, number=1, outcome=outcome, started=1, ended=2))
    judge(trial, one, 0.0, detail="\ud800")
    export_harbor(run, tmp_path / "jobs")
    folder = trial_folder(tmp_path / "jobs", TASKS[0])
    assert pydantic_core.from_json((folder / "result.json").read_bytes())["exception_info"]["exception_message"] == (
        "it said \ufffd"
    )
    assert (folder / "exception.txt").read_text("utf-8") == "UnknownApiError: it said \ufffd\n"
    assert "it said \ufffd" in (folder / "trial.log").read_text("utf-8")


def test_a_task_of_this_machine_is_named_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths: list[str] = []
    for number, source in enumerate([str(tmp_path / "tasks"), "tasks"]):
        (tmp_path / "tasks" / "weigh").mkdir(parents=True, exist_ok=True)
        benchmark = BenchmarkDescription(name="t", source=source, content_sha256="1" * 64, task_ids=["weigh"])
        run = run_in(tmp_path / f"runs{number}", benchmark=benchmark)
        whole_trial(run, "weigh")
        export_harbor(run, tmp_path / f"jobs{number}")
        paths.append(read(trial_folder(tmp_path / f"jobs{number}", "weigh") / "config.json")["task"]["path"])
    assert paths == [str(tmp_path / "tasks/weigh"), "weigh"]  # the other one is relative to a folder of another day


def test_a_job_counts_as_harbor_counts(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs", attempts=2)
    whole_trial(run, TASKS[0])
    whole_trial(run, TASKS[0], 0.0, attempt=2)
    end(*begin(run, TASKS[1]), "error", "sandbox")
    end(*begin(run, TASKS[1]), "interrupted", "cancelled")
    export_harbor(run, tmp_path / "jobs")
    job = tmp_path / "jobs" / JOB
    assert [path for path in files_below(job) if "/" not in path] == ["config.json", "result.json", "run.json"]
    config, result = read(job / "config.json"), read(job / "result.json")
    assert (config["job_name"], config["n_attempts"], config["agents"][0]["name"]) == (JOB, 2, "default")
    assert config["datasets"] == [{"path": "SWE-bench/SWE-bench_Verified", "task_names": TASKS}]
    assert (result["n_total_trials"], seconds(result["started_at"])) == (6, 1796040000)
    assert "finished_at" not in result
    names = [f"{task_slug(TASKS[0])}__1", f"{task_slug(TASKS[0])}__2", f"{task_slug(TASKS[1])}__1"]
    assert result["stats"] == {
        "n_completed_trials": 3,
        "n_errored_trials": 1,
        "n_running_trials": 0,
        "n_pending_trials": 3,
        "n_cancelled_trials": 1,
        "n_retries": 1,
        "evals": {
            "default__org/Model-3B__swebench": {
                "n_trials": 2,
                "n_errors": 1,
                "metrics": [{"mean": pytest.approx(1 / 3)}],
                "reward_stats": {"reward": {"1.0": [names[0]], "0.0": [names[1]]}},
                "exception_stats": {"CancelledError": [names[2]]},
            }
        },
        "n_input_tokens": 3000,
        "n_cache_tokens": 2400,
        "n_output_tokens": 150,
        "cost_usd": 1.5,
    }


def test_the_same_run_gives_the_same_ids_and_one_attempt_can_be_picked(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs", attempts=2)
    whole_trial(run, TASKS[0])
    whole_trial(run, TASKS[0], attempt=2)
    export_harbor(run, tmp_path / "one")
    export_harbor(run, tmp_path / "two", attempt=2)
    ids = [read(trial_folder(tmp_path / name, TASKS[0], 2) / "result.json")["id"] for name in ("one", "two")]
    assert ids[0] == ids[1]
    assert not trial_folder(tmp_path / "two", TASKS[0], 1).exists()
    assert read(tmp_path / "two" / JOB / "result.json")["n_total_trials"] == 3


def test_a_job_is_replaced_only_on_request_and_only_if_it_is_one(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs")
    whole_trial(run, TASKS[0])
    export_harbor(run, tmp_path / "jobs")
    stale = trial_folder(tmp_path / "jobs", TASKS[0]) / "stale"
    stale.touch()
    with pytest.raises(ExportError, match="--force to replace it"):
        export_harbor(run, tmp_path / "jobs")
    assert stale.exists()
    export_harbor(run, tmp_path / "jobs", force=True)
    assert not stale.exists()
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == [JOB]
    (tmp_path / "other" / JOB).mkdir(parents=True)
    (tmp_path / "other" / JOB / "thesis.txt").touch()
    with pytest.raises(ExportError, match="is not replaced"):
        export_harbor(run, tmp_path / "other", force=True)
    assert files_below(tmp_path / "other") == [f"{JOB}/thesis.txt"]


def test_each_trajectory_is_a_document_of_its_own(tmp_path: Path) -> None:
    run = run_in(tmp_path / "runs", attempts=2)
    for attempt in (1, 2):
        whole_trial(run, TASKS[0], attempt=attempt)
    end(*begin(run, TASKS[1]), "error", "image")
    exported = export_atif(run, tmp_path / "out")
    names = [f"{TASKS[0]}.{attempt}.trajectory.json" for attempt in (1, 2)]
    assert files_below(tmp_path / "out") == names
    assert exported.paths == [tmp_path / "out" / name for name in names]
    document = Trajectory.model_validate_json(exported.paths[1].read_bytes())
    assert (document.session_id, document.trajectory_id) == (JOB, f"{JOB}/{TASKS[0]}/2/1")
    assert exported.remarks == [f"1 trials hold no conversation, and so have no trajectory: {TASKS[1]}, attempt 1"]
    with pytest.raises(ExportError, match="is there already"):
        export_atif(run, tmp_path / "out", attempt=2)
    (tmp_path / "out" / "mine.txt").touch()
    exported.paths[1].write_text("older")
    export_atif(run, tmp_path / "out", attempt=2, force=True)
    assert read(exported.paths[1])["schema_version"] == "ATIF-v1.7"
    assert (tmp_path / "out" / "mine.txt").exists()


def test_a_task_whose_id_is_no_file_name_gets_one(tmp_path: Path) -> None:
    run = terminal_run(tmp_path / "runs", "../weigh")
    whole_trial(run, "../weigh")
    (path,) = export_atif(run, tmp_path / "out").paths
    assert path == tmp_path / "out" / f"{task_slug('../weigh')}.1.trajectory.json"


@pytest.mark.parametrize("layout", ["atif", "harbor"])
def test_the_command_writes_what_was_asked_for(tmp_path: Path, layout: str) -> None:
    run = run_in(tmp_path / "runs")
    whole_trial(run, TASKS[0])
    arguments = ["export", JOB, "--runs", str(tmp_path / "runs"), "--format", layout, "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(application, arguments)
    assert done.exit_code == 0, done.output
    name = f"{TASKS[0]}.1.trajectory.json" if layout == "atif" else JOB
    assert done.stdout.splitlines() == [str(tmp_path / "out" / name)]
    again = CliRunner().invoke(application, arguments)
    assert isinstance(again.exception, ExportError)


@pytest.mark.parametrize("export", [export_atif, export_harbor])
def test_where_there_is_nothing_to_export_that_is_said(tmp_path: Path, export: Any) -> None:
    run = run_in(tmp_path / "runs")
    with pytest.raises(ExportError, match="no trial of the run 20261130-160000-x-1 was begun"):
        export(run, tmp_path / "out")
    with pytest.raises(ExportError, match="has no attempt 2; it has 1"):
        export(run, tmp_path / "out", attempt=2)
    assert not (tmp_path / "out").exists()
