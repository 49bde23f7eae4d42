"""`evals demo`: the first thing that a new user sees, whole."""

import itertools
import json
from pathlib import Path

import pytest
from real_things import VENV, Console, Done

from results.run_directory import list_runs

MATRIX = {
    "careful": {"calends": True, "encore": False, "lapse": True, "larder": True, "stencil": True, "tally": False},
    "hasty": {"calends": False, "encore": True, "lapse": True, "larder": False, "stencil": True, "tally": False},
}
IN_TERMINAL = {
    "careful": {"junit-report": True, "service-stays": True, "typed-into": True},
    "hasty": {"junit-report": False, "service-stays": True, "typed-into": False},
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Console]:
    from real_things import clean_environment

    home = tmp_path_factory.mktemp("home")
    console = Console(home, clean_environment(home), patience=240)
    return console.run([str(VENV / "bin" / "evals"), "demo"]), console


def runs_of(console: Console) -> Path:
    return console.home / "data" / "unbroken" / "runs"


def test_each_backend_resolves_what_its_script_solves(demo: tuple[Done, Console]) -> None:
    done, console = demo
    assert done.code == 0, done.err
    found: dict[str, dict[str, dict[str, bool]]] = {"demo": {}, "terminal-bench": {}}
    for run in list_runs(runs_of(console)).found:
        assert run.manifest.backend is not None
        name = run.manifest.backend.model.removeprefix("scripted/")
        found[run.manifest.benchmark.name][name] = {
            short_name(trial.task_id): trial.verdicts()[-1].resolved for trial in run.trials()
        }
    assert found == {"demo": MATRIX, "terminal-bench": IN_TERMINAL}


def short_name(task_id: str) -> str:
    """Of `demo__NAME-7` and of `unbroken/NAME`."""
    return task_id.partition("/")[2] or task_id.split("__")[1].rpartition("-")[0]


def test_it_prints_the_score_table_and_where_the_report_lies(demo: tuple[Done, Console]) -> None:
    done, _ = demo
    assert "4/6 (66.7%)" in done.out
    assert "3/6 (50.0%)" in done.out
    assert "3/3 (100.0%)" in done.out
    assert "1/3 (33.3%)" in done.out
    report = Path(done.out.strip().splitlines()[-1].removeprefix("report: "))
    page = report.read_text("utf-8")
    assert page.count("scripted") > 4
    assert "demo__lapse-8" in page
    assert "unbroken/typed-into" in page


def test_it_says_everywhere_that_it_is_scripted(demo: tuple[Done, Console]) -> None:
    done, console = demo
    for line in done.out.splitlines():
        assert "scripted" in line or not line.startswith("run ")
    listed = console.run([str(VENV / "bin" / "results"), "list"])
    assert listed.out.count("scripted") >= 4
    run = list_runs(runs_of(console)).found[0]
    shown = console.run([str(VENV / "bin" / "results"), "show", run.manifest.run_id])
    assert "says nothing about any model" in shown.out
    assert json.loads((run.path / "run.json").read_text())["backend"]["scripted"] is True


def test_thinking_goes_back_with_every_later_request(demo: tuple[Done, Console]) -> None:
    """What the server generated is in its cache; a client that lost the thinking would miss it there."""
    _, console = demo
    for path in runs_of(console).glob("*/trials/*/1/tries/1/trajectory.jsonl"):
        responses = [json.loads(line) for line in path.read_text().splitlines() if '"type":"response"' in line]
        for before, after in itertools.pairwise(responses):
            whole = before["usage"]["prompt_tokens"] + before["usage"]["output_tokens"]
            assert after["usage"]["cached_tokens"] >= whole - 2 * 16, path
