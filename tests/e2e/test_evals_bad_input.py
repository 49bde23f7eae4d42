"""Bad input to `evals`: a sentence that names the thing and the way out, the right exit code, no traceback."""

import json
from pathlib import Path

import pytest
from real_things import VENV, Console, Done, GitRepository

ROW = {
    "instance_id": "demo__one-1", "repo": "demo/one", "base_commit": "0" * 40, "version": "1.0",
    "problem_statement": "It breaks.", "patch": "p", "test_patch": "t", "FAIL_TO_PASS": "[]", "PASS_TO_PASS": "[]",
    "image": "no-such-image:1", "eval_script": "true", "log_parser": "parse_log_pytest", "eval_type": "pass_and_fail",
}  # fmt: skip


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    return path


def evals(console: Console, *arguments: str | Path, **environment: str) -> Done:
    return console.run([str(VENV / "bin" / "evals"), *map(str, arguments)], **environment)


def assert_sentence(done: Done, code: int, *parts: str) -> None:
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    for part in parts:
        assert part in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["--dataset", "missing.parquet"], 2, ["missing.parquet"]),
        (["--dataset", "nonsense"], 2, ["nonsense", "verified"]),
        (["--dataset", "ROWS", "--instances", "demo__one-2"], 2, ["demo__one-2", "close to it: demo__one-1"]),
        (["--dataset", "ROWS", "--agent", "silver"], 2, ["silver", "default, gold, nop"]),
        (["--dataset", "ROWS", "--network", "host"], 2, ["host", "none, bridge"]),
        (["--dataset", "ROWS", "--toolset", "hammer"], 2, ["hammer", "bash+editor"]),
        (["--dataset", "ROWS", "--max-cost", "1"], 2, ["--price"]),
        (["--dataset", "ROWS", "--price", "cheap", "--agent", "nop"], 2, ["cheap", "PROMPT:OUTPUT"]),
        (["--dataset", "ROWS", "--backend", "vlllm"], 2, ["vlllm", "http://HOST:PORT/v1"]),
        (["--dataset", "ROWS", "--backend", "scripted:missing.yaml"], 2, ["missing.yaml"]),
        (["--dataset", "ROWS", "--backend", "http://127.0.0.1:9/v1"], 5, ["http://127.0.0.1:9/v1", "running"]),
        (
            ["--dataset", "ROWS", "--agent", "nop", "--grade-cpus", "inf"],
            2,
            ["--grade-cpus", "no number of processors"],
        ),
        (["--dataset", "ROWS", "--agent", "nop", "--grade-cpus", "5000"], 2, ["5000 processors were asked for"]),
        (["--dataset", "ROWS", "--agent", "nop", "--grade-memory", "much"], 2, ["--grade-memory", "4g"]),
        (["--dataset", "ROWS", "--agent", "nop", "--grade-timeout", "inf"], 2, ["--grade-timeout", "a week"]),
        ([], 2, ["--dataset"]),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(
    console: Console, dataset: Path, arguments: list[str], code: int, parts: list[str]
) -> None:
    done = evals(console, "swebench", *[dataset if argument == "ROWS" else argument for argument in arguments])
    assert_sentence(done, code, *parts)
    assert not (console.home / "data" / "unbroken" / "runs").exists()


@pytest.mark.parametrize("command", [["demo"], ["swebench", "--agent", "nop", "--dataset", "ROWS"]])
def test_without_a_docker_engine_it_says_how_to_get_one(console: Console, dataset: Path, command: list[str]) -> None:
    arguments = [dataset if argument == "ROWS" else argument for argument in command]
    done = evals(console, *arguments, DOCKER_HOST="unix:///nowhere/docker.sock")
    assert_sentence(done, 1, "/nowhere/docker.sock", "scripts/docker_engine")


def test_debug_shows_the_traceback(console: Console) -> None:
    done = evals(console, "swebench", "--dataset", "missing.parquet", "--debug")
    assert done.code == 2
    assert "Traceback" in done.err


def test_it_runs_from_inside_a_repository_with_packages_of_the_same_names(
    console: Console, dataset: Path, repository: GitRepository
) -> None:
    for name in ("agent", "tools", "evals", "runners", "results", "swebench", "datasets"):
        repository.write(f"{name}/__init__.py", "raise SystemExit('the wrong package was imported')")
    command = [str(VENV / "bin" / "evals"), "swebench", "--dataset", str(dataset), "--agent", "nop"]
    done = console.run(command, cwd=repository.path, PYTHONPATH=".")
    assert "wrong package" not in done.out + done.err
    assert "image error: the image no-such-image:1 is not on this machine" in done.out
