"""`evals validate` on tasks in Harbor's format."""

import json
import shutil
from pathlib import Path

import pytest
from real_things import VENV, Console
from test_terminal_bench import SUITE

from results.records.reliability import ReliableSet
from results.run_directory import list_runs

EVALS = str(VENV / "bin" / "evals")
SETTINGS = '[environment]\ndocker_image = "unbroken/base:1"\nworkdir = "/app"\nnetwork_mode = "no-network"\n'
GIVEN = "#!/bin/bash\necho 1 >/logs/verifier/reward.txt\n"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "tasks"
    for name in ("hello-file", "service-stays"):
        shutil.copytree(SUITE / name, folder / name)
    for name, test, solution in (
        ("given-away", GIVEN, "true"),
        ("beyond-anybody", GIVEN.replace("1 >", "0 >"), "true"),
        ("not-installed", "#!/bin/bash\necho 'curl: (6) Could not resolve host: x' >&2\nexit 6\n", "true"),
    ):
        task = folder / name
        for file, text in (("task.toml", SETTINGS), ("instruction.md", "Do it."), ("tests/test.sh", test),
                           ("solution/solve.sh", f"#!/bin/bash\n{solution}\n")):  # fmt: skip
            (task / file).parent.mkdir(parents=True, exist_ok=True)
            (task / file).write_text(text)
    return folder


def test_it_is_found_which_tasks_can_be_believed_and_which_are_judged_on_what_runs(
    console: Console, dataset: Path, tmp_path: Path
) -> None:
    output, runs = tmp_path / "reliable.json", str(tmp_path / "runs")
    asked = [EVALS, "validate", "--dataset", str(dataset), "--output", str(output), "--repeat", "2"]
    refused = console.run([*asked, "--grade-timeout", "7"])
    assert (refused.code, "--instances alone" in refused.err) == (2, True)

    patient = Console(console.home, console.environment, patience=240)
    done = patient.run([*asked, "--verifications", "4"])

    assert done.code == 1, done
    found = ReliableSet.model_validate_json(output.read_bytes())
    assert {one.task_id: (one.reliability, one.quiesced) for one in found.found} == {
        "beyond-anybody": ("broken", False),
        "given-away": ("solved_by_nothing", False),
        "not-installed": ("unknown", None),
        "unbroken/hello-file": ("reliable", True),
        "unbroken/service-stays": ("reliable", False),
    }
    assert found.tasks == ["unbroken/hello-file", "unbroken/service-stays"]
    assert "unbroken/service-stays  reliable, judged on what runs" in done.out
    assert "Could not resolve host" in done.out
    assert sorted(path.name for path in tmp_path.glob("reliable*")) == ["reliable.json"]

    gold = [EVALS, "terminal-bench", "--dataset", str(dataset), "--agent", "gold", "--runs", runs]
    assert console.run([*gold, "--tasks", "*hello-file,beyond-anybody"]).code == 0
    (run,) = list_runs(Path(runs)).found
    showing = [str(VENV / "bin" / "results"), "show", run.manifest.run_id, "--runs", runs, "--json"]
    shown = console.run([*showing, "--tasks", str(output)])
    assert shown.code == 0, shown
    assert json.loads(shown.out)["reliable"]["score"]["resolved"] == 1
