"""`evals terminal-bench --config`: a run that is described by a job configuration of Harbor's."""

from pathlib import Path

from real_things import VENV, Console
from terminal_bench_desk import write_task

from results.run_directory import list_runs

ONE = "echo 1 >/logs/verifier/reward.txt"
JOB = """
job_name: night
n_attempts: 2
n_concurrent_trials: 2
agents: [{name: nop}]
environment: {type: docker, override_memory_mb: 256}
datasets: [{path: TASKS, task_names: ["t*"], exclude_task_names: [tin], n_tasks: 1}]
"""


def test_a_job_is_carried_out_and_the_command_line_wins(console: Console, tmp_path: Path) -> None:
    for name in ("other", "tin", "top", "tub"):
        write_task(tmp_path / "tasks" / name, test=ONE)
    job, runs = tmp_path / "job.yaml", tmp_path / "runs"
    job.write_text(JOB.replace("TASKS", str(tmp_path / "tasks")))
    start = [str(VENV / "bin" / "evals"), "terminal-bench", "-c", str(job), "--runs", str(runs)]
    done = console.run([*start, "--agent", "gold"])
    assert done.code == 0, done
    assert f"{job}: job_name: a run names itself" in done.err
    (run,) = list_runs(runs).found
    assert [trial.task_id for trial in run.trials()] == ["top", "top"]
    manifest = run.manifest
    assert manifest.agent.name == "gold"
    assert manifest.attempts == 2


def test_a_job_that_cannot_be_carried_out_begins_no_run(console: Console, tmp_path: Path) -> None:
    job, runs = tmp_path / "job.yaml", tmp_path / "runs"
    job.write_text("verifier: {disable: true}\ndatasets: [{path: tasks}]\n")
    done = console.run([str(VENV / "bin" / "evals"), "terminal-bench", "--config", str(job), "--runs", str(runs)])
    assert done.code == 2, done
    assert "verifier.disable" in done.err
    assert not runs.exists()
