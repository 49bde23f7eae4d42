"""A run that lives on S3 is begun on one machine, goes on on another, and is looked at from a third."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from finished_trials import check_each_is_judged_once
from real_things import PATIENCE, VENV, Console, calls
from shared_server import s3_files, tree

from results.run_directory import RunDirectory

EVALS, RESULTS = str(VENV / "bin" / "evals"), str(VENV / "bin" / "results")
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def machine(s3_environment: dict[str, str], tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """The environment of a machine that reaches the storage, and has nothing else in common with the others."""
    return lambda name: {**s3_environment, "XDG_DATA_HOME": str(tmp_path / name)}


def copy_of(tmp_path: Path, machine: str) -> Path:
    (path,) = (tmp_path / machine / "unbroken" / "shared").glob("*/nightly")
    return path


def test_it_goes_on_elsewhere(
    console: Console,
    s3_environment: dict[str, str],
    machine: Callable[[str], dict[str, str]],
    dataset: Path,
    tmp_path: Path,
    write_script: Callable[..., str],
) -> None:
    url = f"s3://runs/{tmp_path.name}"
    script = write_script(calls("sleep 2; echo one >one"), {"content": "It is done."})
    start = [EVALS, "swebench", "--dataset", str(dataset), "--runs", url, "--backend", script, "--run-id", "nightly"]
    start += ["--attempts", "3", "--concurrency", "1"]
    process = subprocess.Popen(start, env=console.all(machine("first")), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + PATIENCE
    while not s3_files(s3_environment).glob(f"runs/{tmp_path.name}/nightly/trials/*/*/tries/1/end.json"):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)

    busy = console.run([EVALS, "resume", "nightly", "--runs", url], **machine("second"))
    assert busy.code == 2, busy
    assert f"process {process.pid} on " in busy.err
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert f"results show nightly --runs {url}" in out.decode()
    first = tree(copy_of(tmp_path, "first"))

    done = console.run([EVALS, "resume", "nightly", "--runs", url, "--concurrency", "2"], **machine("second"))
    assert done.code == 0, done
    run = RunDirectory.open(copy_of(tmp_path, "second"))
    assert len(run.trials()) == 6
    check_each_is_judged_once(run)
    ended = {name for name in first if name.endswith("tries/1/end.json")}
    assert 0 < len(ended) < 6
    for name in ended:
        assert (run.path / name).read_bytes() == first[name]

    shown = console.run([RESULTS, "list", "--json", "--runs", url], **machine("third"))
    assert shown.code == 0, shown
    (summary,) = json.loads(shown.out)["runs"]
    assert summary["run_id"] == "nightly"
    third = tree(copy_of(tmp_path, "third"))
    assert {name: data for name, data in tree(run.path).items() if name in third} == third
    assert {name for name in tree(run.path) if name not in third} <= {"lock"}

    replayed = console.run([EVALS, "replay", "nightly", "--runs", url], **machine("third"))
    assert replayed.code == 0, replayed
    assert s3_files(s3_environment).glob(f"runs/{tmp_path.name}/*replay*/replay.json")
    for secret in ("testing-secret", "testing-key"):
        assert not any(secret.encode() in data for data in tree(tmp_path / "second").values())


def test_commands_that_record_on_this_machine_alone_say_so(console: Console, tmp_path: Path) -> None:
    done = console.run([EVALS, "regrade", "nightly", "--runs", "s3://runs/x"])
    assert done.code == 2
    assert "records on this machine alone" in " ".join(done.err.replace("│", " ").split())


def test_a_storage_that_is_not_there_is_named(console: Console) -> None:
    done = console.run([RESULTS, "list", "--runs", "nowhere://runs/x"])
    assert done.code == 2
    assert "nowhere://runs/x cannot be used" in done.err
    assert "Traceback" not in done.err
