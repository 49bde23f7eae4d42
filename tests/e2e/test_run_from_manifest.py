"""A run is begun again from what its manifest says, and what is not the same is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from real_things import VENV, Console, calls

from results.manifest_difference import manifest_differences
from results.records.stated_run import StatedRun
from results.run_directory import RunDirectory

EVALS = str(VENV / "bin" / "evals")
pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def file(console: Console, dataset: Path, tmp_path: Path, write_script: Callable[..., str]) -> Path:
    """What `evals manifest --json` prints of a run of one task."""
    script = write_script(calls("echo one >one"), {"content": "It is done."})
    start = [EVALS, "swebench", "--dataset", str(dataset), "--runs", str(tmp_path / "runs"), "--backend", script]
    done = console.run([*start, "--instances", "*tally*", "--run-id", "nightly"])
    assert done.code == 0, done
    printed = console.run([EVALS, "manifest", "nightly", "--json", "--runs", str(tmp_path / "runs")])
    path = tmp_path / "manifest.json"
    path.write_text(printed.out, "utf-8")
    return path


def test_the_same_run_is_begun_under_an_id_of_its_own(console: Console, file: Path, tmp_path: Path) -> None:
    done = console.run([EVALS, "run", "--manifest", str(file), "--yes"])

    assert done.code == 0, done
    assert "as run nightly was begun: evals swebench --dataset" in done.err
    assert "not as in the manifest" not in done.err
    assert "another image" not in done.err
    (path,) = [path for path in (tmp_path / "runs").glob("*/run.json") if path.parent.name != "nightly"]
    run = RunDirectory.open(path.parent)
    before = RunDirectory.open(tmp_path / "runs" / "nightly").manifest
    assert {each.key for each in manifest_differences(before, run.manifest)} <= {"backend.base_url"}
    assert [len(trial.verdicts()) for trial in run.trials()] == [2]


def test_what_is_not_the_same_is_told(console: Console, file: Path, tmp_path: Path) -> None:
    stated = json.loads(file.read_text())
    stated["images"] = dict.fromkeys(stated["images"], "sha256:another")
    stated["starts"][-1]["machine"] = "a big one"
    file.write_text(json.dumps(stated), "utf-8")

    done = console.run([EVALS, "run", "--manifest", str(file), "--yes", "--attempts", "2", "--run-id", "other"])

    assert done.code == 0, done
    assert "not as in the manifest: attempts: 1 and 2" in done.err
    assert "another machine: a big one, and here " in done.err
    assert "was worked on in sha256:another, and here in sha256:" in done.err
    assert len(RunDirectory.open(tmp_path / "runs" / "other").trials()) == 2


def test_nothing_is_carried_out_that_nobody_has_agreed_to(console: Console, file: Path, tmp_path: Path) -> None:
    done = console.run([EVALS, "run", "--manifest", str(file)])
    assert done.code == 2
    assert "give --yes if you know who made the file" in done.err
    assert len(list((tmp_path / "runs").glob("*/run.json"))) == 1


def without_command(stated: dict[str, Any]) -> object:
    return {**stated, "starts": [], "begun": None}


def of_another_command(stated: dict[str, Any]) -> object:
    return {**stated, "starts": [{**stated["starts"][0], "command": ["clean", "--all"]}]}


def manifest_alone(stated: dict[str, Any]) -> object:
    return stated["manifest"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_command, "does not say with which command it was begun"),
        (of_another_command, "was begun with `evals clean`, which begins none"),
        (manifest_alone, "is not what `evals manifest RUN --json` prints"),
    ],
)
def test_a_file_that_begins_nothing_is_refused(
    console: Console, file: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    StatedRun.model_validate_json(file.read_bytes())
    file.write_text(json.dumps(change(json.loads(file.read_text()))), "utf-8")
    done = console.run([EVALS, "run", "--manifest", str(file), "--yes"])
    assert done.code == 2
    assert said in " ".join(done.err.replace("│", " ").split())
    missing = console.run([EVALS, "run", "--manifest", str(file) + ".gone", "--yes"])
    assert (missing.code, "cannot be read" in missing.err) == (2, True), missing
