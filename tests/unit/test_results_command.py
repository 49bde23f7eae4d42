"""`results` at the command line: readable without a terminal, honest about what is scripted, open or broken."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parents[1] / "data" / "golden_run_format_1"
RUN = "20261124-125800-demo-careful-3f9a"
GOLDEN_2 = GOLDEN.with_name("golden_run_format_2")
RUN_2 = "20261130-160000-demo-kept-5c1e"
TRIALS = Path(RUN) / "trials"
LEDGER_2 = TRIALS / "tiny__ledger-2-f0dfcfd9" / "1"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "runs"))


def results(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    program = "import sys; from unbroken.entry import results; sys.argv[0] = 'results'; results()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "40", **environment},
        cwd=Path(__file__).parents[2],
    )


def output(*arguments: str, **environment: str) -> str:
    ended = results(*arguments, **environment)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def rows(text: str) -> list[list[str]]:
    return [re.split(r" {2,}", line.strip()) for line in text.splitlines() if line.strip()]


def in_terminal(columns: int, *arguments: str) -> str:
    """What a terminal of that width is sent, without its colour codes."""
    from rich.console import Console

    from results.run_directory import list_runs
    from results.summary import summarise
    from results.tables import run_table

    console = Console(width=columns, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(run_table([summarise(run) for run in list_runs(Path(arguments[0])).found]))
    return capture.get()


def test_list_shows_score_interval_open_errors_and_cost(runs: Path):
    header, _, row = rows(output("list", "--runs", str(runs)))
    assert dict(zip(header, row, strict=True)) == {
        "run": RUN,
        "benchmark": "demo",
        "agent on backend": "default on scripted/careful (scripted)",
        "resolved": "1/2 (50.0%)",
        "95% interval": "9.5–90.5%",
        "hardened": "–",
        "open": "1",
        "errors": "1",
        "cost": "at least $0.0672",
        "started": "2026-11-24 12:58 UTC",
    }


def test_a_pipe_gets_no_colour_codes_and_whole_ids(runs: Path):
    for arguments in (["list"], ["show", RUN], ["show", RUN, "--trial", "tiny__ledger-1"]):
        text = output(*arguments, "--runs", str(runs))
        assert "\x1b" not in text
        assert RUN in text


@pytest.mark.parametrize("columns", [20, 40, 80, 300])
def test_a_terminal_of_any_width_loses_no_cell(runs: Path, columns: int):
    text = in_terminal(columns, str(runs))
    assert all(len(line) <= columns for line in text.splitlines())
    whole = "".join(text.split())
    for cell in [RUN, "default on scripted/careful (scripted)", "1/2 (50.0%)", "9.5–90.5%", "2026-11-24 12:58 UTC"]:
        assert "".join(cell.split()) in whole


def test_the_environment_says_where_runs_lie(runs: Path):
    assert RUN in output("list", UNBROKEN_RUNS=str(runs))


def test_a_folder_without_runs_says_what_makes_one(tmp_path: Path):
    assert "there are no runs" in output("list", "--runs", str(tmp_path))
    assert "evals demo" in output("list", UNBROKEN_RUNS=str(tmp_path / "absent"))


def test_show_says_what_defines_the_score_and_what_it_took(runs: Path):
    text = output("show", "3f9a", "--runs", str(runs))
    facts = {line[0]: line[1] for line in rows(text) if len(line) == 2}
    assert facts["benchmark"] == "demo from bundled, revision 1: 4 tasks, 1 attempt each"
    assert facts["backend"].startswith("scripted/careful (scripted) at http://127.0.0.1:40001/v1")
    assert facts["resolved"] == "1/2 (50.0%), 95% interval 9.5–90.5% (Wilson)"
    assert "between 33.3% (all failed) and 66.7% (all resolved)" in facts["errors"]
    assert facts["tokens"] == "prompt 52,300 (cached 1,800, 3.4%), output 4,120 (reasoning 70)"
    assert facts["cost"] == "at least $0.0672"  # one try of several has no cost
    assert facts["time"] == "model 24.0 s (80.0%), tools 4.50 s (15.0%), harness 1.50 s (5.0%)"
    assert "says nothing about any model" in text


def test_show_lists_every_trial_with_exit_error_and_verdict(runs: Path):
    table = rows(output("show", RUN, "--runs", str(runs)))[-4:]
    assert table == [
        ["tiny__ledger-1", "1", "finished", "–", "resolved", "2", "2,420", "10.0 s"],
        ["tiny__ledger-2", "1", "limit:steps", "–", "not resolved (empty patch)", "50", "54,000", "10.0 s"],
        ["tiny__slug-3", "1", "error", "sandbox", "none", "0", "unknown", "10.0 s"],
        ["tiny__slug-4", "1", "–", "–", "none (open)", "–", "–", "–"],
    ]


def test_show_trial_gives_paths_every_verdict_and_failing_tests(runs: Path):
    text = output("show", RUN, "--runs", str(runs), "--trial", "ledger-1")
    assert str(runs / TRIALS / "tiny__ledger-1-6bf63d10" / "1" / "tries" / "1" / "trajectory.jsonl") in text
    assert "try 1 not resolved, by official (swebench 5.0.2), fail-to-pass 0/1, pass-to-pass 1/1" in text
    assert "try 1 resolved, by official" in text
    path = runs / LEDGER_2 / "verdicts" / "1.json"
    failed = {"status": "graded", "fail_to_pass": {"failed": ["tests/test_a.py::test_it"]}}
    path.write_text(json.dumps(json.loads(path.read_text()) | failed))
    text = output("show", RUN, "--runs", str(runs), "--trial", "tiny__ledger-2")
    assert "tests/test_a.py::test_it" in text


def test_show_trial_gives_the_last_error_in_full(runs: Path):
    text = output("show", RUN, "--runs", str(runs), "--trial", "tiny__slug-3")
    assert "try 2: the container no longer answers (0123456789ab)" in text


def test_json_holds_the_same_figures(runs: Path):
    listed: Any = json.loads(output("list", "--runs", str(runs), "--json"))
    assert listed["damaged"] == []
    (run,) = listed["runs"]
    assert (run["run_id"], run["scripted"]) == (RUN, True)
    assert (run["score"]["resolved"], run["score"]["n"], run["score"]["rate"]) == (1, 2, 0.5)
    assert run["score"]["cost"] is None
    shown: Any = json.loads(output("show", RUN, "--runs", str(runs), "--json"))
    assert shown["summary"] == run
    assert [trial["state"] for trial in shown["trials"]] == ["resolved", "not resolved", "error", "open"]
    (trial,) = json.loads(output("show", RUN, "--runs", str(runs), "--json", "--trial", "tiny__ledger-1"))
    assert [verdict["resolved"] for verdict in trial["verdicts"]] == [False, True]


@pytest.mark.parametrize("damaged", [Path(RUN) / "run.json", LEDGER_2 / "verdicts" / "1.json"])
def test_a_damaged_run_is_reported_and_the_others_are_listed(runs: Path, damaged: Path):
    shutil.copytree(runs / RUN, runs / "intact")
    (runs / damaged).write_text('{"format": 1')
    ended = results("list", "--runs", str(runs))
    assert ended.returncode == 0
    assert len(rows(ended.stdout)) == 3
    assert f"cannot be shown: {runs / damaged} is damaged" in ended.stderr
    shown = results("show", RUN, "--runs", str(runs))
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.startswith(f"error: {runs / damaged} is damaged")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "nothing"], "error: there is no run 'nothing' in"),
        (["show", "2026"], "could be any of 2 runs"),
        (["show", RUN, "--trial", "nothing"], "the run has no task 'nothing'"),
        (["show", RUN, "--trial", "tiny"], "could be any of: tiny__ledger-1"),
        (["list", "--runs", "/nowhere"], "there is no folder /nowhere"),
        (["show"], "Missing argument"),
        (["unheard-of"], "No such command"),
    ],
)
def test_bad_input_is_a_sentence_and_exit_2(runs: Path, arguments: list[str], sentence: str):
    shutil.copytree(runs / RUN, runs / "20261125-second")
    ended = results(*arguments, UNBROKEN_RUNS=str(runs))
    assert ended.returncode == 2
    assert sentence in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


def test_a_hostile_task_id_reaches_no_terminal(runs: Path):
    path = runs / RUN / "run.json"
    manifest = json.loads(path.read_text())
    manifest["benchmark"]["task_ids"] = ["\x1b[2Jwiped\u202e", "[red]markup[/red]"]
    path.write_text(json.dumps(manifest))
    text = output("show", RUN, "--runs", str(runs))
    assert "\x1b" not in text
    assert "␛[2Jwiped\\u202e" in text
    assert "[red]markup[/red]" in text


def test_help_loads_nothing_heavy():
    program = (
        "import sys; import unbroken.commands.results as command\n"
        "from typer.testing import CliRunner\n"
        "assert CliRunner().invoke(command.application, ['--help']).exit_code == 0\n"
        "heavy = {'pydantic', 'scipy', 'rich', 'jinja2', 'numpy', 'results'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize(("answer", "says_so"), [("lost", True), ("kept", False)])
def test_a_run_that_was_allowed_to_lose_thinking_says_so_where_it_did(tmp_path: Path, answer: str, says_so: bool):
    runs = Path(shutil.copytree(GOLDEN_2, tmp_path / "runs"))
    sessions = runs / RUN_2 / "sessions.jsonl"
    sessions.write_text(sessions.read_text("utf-8").replace('"answer":"lost"', f'"answer":"{answer}"'), "utf-8")
    assert ("--allow-lost-thinking" in output("show", RUN_2, "--runs", str(runs))) == says_so
