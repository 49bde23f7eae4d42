"""`evals swebench` on real containers: what is judged, what is kept, what an error is."""

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from docker import DockerClient
from real_things import VENV, Console, Done, calls, fault

from evals.janitor import Janitor
from evals.swebench.dataset import Row
from evals.swebench.grading import Grader
from evals.swebench.judgement import Judgement
from evals.swebench.official import OfficialVerifier
from evals.swebench.verifier import VerifierContainers
from evals.swebench.verifier_settings import VerifierSettings
from results.records.events import PatchEvent
from results.run_directory import RunDirectory, TrialDirectory, list_runs
from results.trajectory import read_trajectory
from runners.docker_engine import RUN_LABEL


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def evaluate(console: Console, runs: Path) -> Callable[..., Done]:
    def run(dataset: Path, *arguments: str, **environment: str) -> Done:
        command = [str(VENV / "bin" / "evals"), "swebench", "--dataset", str(dataset), "--runs", str(runs), *arguments]
        if "--verdicts" not in arguments:
            command += ["--verdicts", "official"]
        return console.run(command, **environment)

    return run


def write_dataset(path: Path, *rows: Row) -> Path:
    path.write_text(json.dumps([row.model_dump(mode="json") for row in rows]), "utf-8")
    return path


def only_run(runs: Path) -> RunDirectory:
    (run,) = list_runs(runs).found
    return run


def only_trial(runs: Path) -> TrialDirectory:
    (trial,) = only_run(runs).trials()
    return trial


def solving(row: Row) -> str:
    """A command that applies the row's own solution."""
    return f"git apply <<'PATCH_END'\n{row.patch}\nPATCH_END"


async def test_gold_is_resolved_and_nop_is_not(
    demo_rows: dict[str, Row], tmp_path: Path, runs: Path, evaluate: Callable[..., Done]
) -> None:
    dataset = write_dataset(tmp_path / "rows.json", demo_rows["lapse"], demo_rows["tally"])
    for agent, resolved in (("gold", True), ("nop", False)):
        done = evaluate(dataset, "--agent", agent, "--verdicts", "both")
        assert done.code == 0, done.err
        run = next(found for found in list_runs(runs).found if found.manifest.agent.name == agent)
        verdicts = [trial.verdicts() for trial in run.trials()]
        assert [[verdict.resolved for verdict in found] for found in verdicts] == [[resolved] * 2] * 2 or agent == "nop"
        assert not any(verdict.resolved for found in verdicts for verdict in found) or agent == "gold"
        assert run.manifest.verifiers == {"official": "swebench 5.0.2", "hardened": "rules 3, swebench 5.0.2"}


def test_a_run_leaves_files_that_a_second_person_can_read(
    demo_rows: dict[str, Row],
    tmp_path: Path,
    runs: Path,
    evaluate: Callable[..., Done],
    write_script: Callable[..., str],
) -> None:
    row = demo_rows["lapse"]
    backend = write_script(calls(solving(row)), {"reasoning": "It is done.", "content": "Solved."})
    done = evaluate(write_dataset(tmp_path / "rows.json", row), "--backend", backend)
    assert done.code == 0, done.err
    assert f"{row.instance_id}  resolved" in done.out
    assert "scripted" in done.out

    trial = only_trial(runs)
    (directory,) = trial.tries()
    (verdict,) = trial.verdicts()
    end = directory.end()
    assert end is not None
    assert (end.outcome.exit, end.outcome.error, end.outcome.steps) == ("finished", None, 2)
    assert (verdict.status, verdict.resolved, verdict.reward) == ("graded", True, 1.0)
    assert verdict.fail_to_pass.passed == json.loads(str(row.FAIL_TO_PASS))
    assert verdict.pass_to_pass.failed == []
    assert verdict.patch_sha256 == end.patch_sha256
    log = trial.verdict_files(verdict.number)
    assert {path.name for path in log.iterdir()} >= {"eval.sh", "test_output.txt", "report.json"}
    prediction = json.loads((only_run(runs).path / "predictions.jsonl").read_text())
    assert prediction["instance_id"] == row.instance_id
    assert prediction["model_patch"] == directory.patch_path.read_text()


def test_the_agent_sees_neither_network_nor_later_history_nor_tests(
    demo_rows: dict[str, Row],
    tmp_path: Path,
    runs: Path,
    evaluate: Callable[..., Done],
    write_script: Callable[..., str],
) -> None:
    row = demo_rows["lapse"]
    look = "git log --all --oneline | wc -l; git rev-list HEAD | wc -l; ls /sys/class/net; hostname; env"
    evaluate(write_dataset(tmp_path / "rows.json", row), "--backend", write_script(calls(look), {"content": "Seen."}))
    (directory,) = only_trial(runs).tries()
    text = directory.trajectory_path.read_text()
    seen = next(json.loads(line) for line in text.splitlines() if '"tool_result"' in line)["sent"]["content"].split()
    assert seen[2] == seen[3]
    assert seen[4:6] == ["lo", "sandbox"]
    told = "".join(json.dumps(json.loads(line)["sent"]) for line in text.splitlines() if '"message"' in line)
    assert row.problem_statement.split("\n")[0] in told
    for secret in (row.instance_id, row.base_commit, *json.loads(str(row.FAIL_TO_PASS))):
        assert secret not in told
        assert secret not in " ".join(seen)


@pytest.mark.parametrize("how", ["limit", "crash"])
def test_work_is_harvested_and_kept_however_the_agent_ends(
    demo_rows: dict[str, Row],
    tmp_path: Path,
    runs: Path,
    evaluate: Callable[..., Done],
    write_script: Callable[..., str],
    how: str,
) -> None:
    row = demo_rows["lapse"]
    rest = [calls("true")] * 5 if how == "limit" else [fault(times=50, status=400, message="no more"), {"content": "x"}]
    backend = write_script(calls(solving(row)), *rest)
    done = evaluate(write_dataset(tmp_path / "rows.json", row), "--backend", backend, "--max-steps", "3")
    trial = only_trial(runs)
    (directory,) = trial.tries()
    assert directory.patch_path.read_bytes().count(b"\n+") > 1
    assert any(isinstance(event, PatchEvent) for event in read_trajectory(directory.trajectory_path))
    end = directory.end()
    assert end is not None
    if how == "limit":
        assert (done.code, end.outcome.exit, end.outcome.error) == (0, "limit:steps", None)
        assert trial.verdicts()[0].resolved
    else:
        assert (done.code, end.outcome.exit, end.outcome.error) == (1, "error", "backend")
        assert trial.verdicts() == []
        assert "no more" in done.out


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ("sed -i 's/^def /def broken_/' *.py */*.py", "graded"),
        ("echo note > note.txt", "graded"),
        ("true", "empty_patch"),
    ],
)
def test_work_that_does_not_solve_it_is_not_resolved(
    demo_rows: dict[str, Row],
    tmp_path: Path,
    runs: Path,
    evaluate: Callable[..., Done],
    write_script: Callable[..., str],
    change: str,
    status: str,
) -> None:
    backend = write_script(calls(change), {"content": "Done."})
    assert evaluate(write_dataset(tmp_path / "rows.json", demo_rows["lapse"]), "--backend", backend).code == 0
    (verdict,) = only_trial(runs).verdicts()
    assert (verdict.status, verdict.resolved) == (status, False)


def test_an_image_that_cannot_be_had_is_an_error_of_the_trial_and_not_of_the_others(
    demo_rows: dict[str, Row], tmp_path: Path, runs: Path, evaluate: Callable[..., Done]
) -> None:
    dataset = tmp_path / "rows.json"
    rows = [demo_rows["lapse"].model_dump(mode="json"), demo_rows["tally"].model_dump(mode="json")]
    rows[0]["image"] = "127.0.0.1:9/nowhere/image:1"
    dataset.write_text(json.dumps(rows))
    done = evaluate(dataset, "--agent", "gold")
    assert done.code == 1
    assert "image error: the image 127.0.0.1:9/nowhere/image:1 is not on this machine" in done.out
    assert "evals images pull" in done.out
    assert "prepare_instance" in done.out
    first, second = only_run(runs).trials()
    assert (first.verdicts(), second.verdicts()[0].resolved) == ([], True)


async def judge(client: DockerClient, row: Row, patch: bytes, files: Path, timeout: float = 60.0) -> Judgement:
    grader, janitor = await Grader.start(), Janitor()
    try:
        verifier = OfficialVerifier(
            VerifierContainers(client, janitor, "test-judge", VerifierSettings(timeout=timeout)), grader
        )
        return await verifier.judge(row, patch, files)
    finally:
        await grader.close()
        assert await janitor.finish() == []


def test_output_that_is_no_utf_8_is_judged_all_the_same(
    demo_rows: dict[str, Row], client: DockerClient, tmp_path: Path
) -> None:
    row = demo_rows["lapse"]
    noisy = row.eval_script.replace(": '>>>>> Start", "printf 'caf\\351\\n'\n: '>>>>> Start", 1)
    row = row.model_copy(update={"eval_script": noisy})
    assert asyncio.run(judge(client, row, row.patch.encode(), tmp_path)).resolved


def test_a_patch_of_which_a_part_is_there_already_is_applied_as_swebench_does(
    demo_rows: dict[str, Row], client: DockerClient, tmp_path: Path
) -> None:
    """`patch --forward` leaves the rest applied and exits 1; swebench then finds that it reverses."""
    row = demo_rows["lapse"]
    listed = client.containers.run(row.image, "head -n 4 README.md", entrypoint="", working_dir="/testbed", remove=True)
    first, *context = listed.decode().splitlines()
    hunk = ["-what is not there", f"+{first}", *(f" {line}" for line in context)]
    half = "\n".join(
        ["diff --git a/README.md b/README.md", "--- a/README.md", "+++ b/README.md", "@@ -1,4 +1,4 @@", *hunk, ""]
    )
    judgement = asyncio.run(judge(client, row, (half + row.patch).encode(), tmp_path))
    assert (judgement.status, judgement.resolved) == ("graded", True)


def test_a_script_that_runs_too_long_is_ended(demo_rows: dict[str, Row], client: DockerClient, tmp_path: Path) -> None:
    row = demo_rows["lapse"].model_copy(update={"eval_script": "#!/bin/bash\necho begun\nsleep 600\n"})
    judgement = asyncio.run(judge(client, row, row.patch.encode(), tmp_path, timeout=2.0))
    assert (judgement.status, judgement.resolved) == ("timed_out", False)
    assert "begun" in (tmp_path / "test_output.txt").read_text()


def test_an_interrupt_keeps_the_work_and_says_so(
    demo_rows: dict[str, Row],
    client: DockerClient,
    tmp_path: Path,
    runs: Path,
    console: Console,
    write_script: Callable[..., str],
) -> None:
    row = demo_rows["lapse"]
    dataset = write_dataset(tmp_path / "rows.json", row, demo_rows["tally"])
    backend = write_script(calls(solving(row)), calls("sleep 300"), {"content": "never"})
    command = [VENV / "bin" / "evals", "swebench", "--dataset", dataset, "--runs", runs, "--backend", backend]
    process = subprocess.Popen(
        [*command, "--concurrency", "1"], env=console.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while '"step":2,"received"' not in "".join(path.read_text() for path in runs.rglob("trajectory.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"interrupted" in out
    first, second = only_run(runs).trials()
    (directory,) = first.tries()
    assert directory.patch_path.stat().st_size > 0
    end = directory.end()
    assert end is not None
    assert (end.outcome.exit, end.outcome.error) == ("interrupted", "cancelled")
    assert (first.verdicts(), second.tries()) == ([], [])
    run_id = only_run(runs).manifest.run_id
    assert client.containers.list(all=True, ignore_removed=True, filters={"label": f"{RUN_LABEL}={run_id}"}) == []
