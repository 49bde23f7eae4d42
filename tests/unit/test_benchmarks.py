import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import startup
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.measurement import Measurement, Options, table
from benchmarks.results_page import write_section

KEYS = ["name", "value", "unit", "target", "ok", "peer", "peer_value"]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Measurement]:
    """A benchmark that takes no time."""
    rows = [Measurement("fast", 0.123456, "s", 0.25, "mini", 0.5), Measurement("told", 3.0, "×")]

    def run(options: Options) -> list[Measurement]:
        return rows

    monkeypatch.setattr(startup, "run", run)
    return rows


def test_without_a_name_it_lists_every_benchmark_and_runs_none():
    command = [sys.executable, "-m", "benchmarks"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert [line.split()[0] for line in listing.stdout.splitlines()] == list(BENCHMARKS)


def test_json_is_a_list_of_rows_with_the_promised_keys(measured: list[Measurement], capsys: pytest.CaptureFixture[str]):
    assert main(["startup", "--json"]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    assert [list(row) for row in rows] == [KEYS, KEYS]
    assert rows[0] == dict(zip(KEYS, ["fast", 0.1235, "s", 0.25, True, "mini", 0.5], strict=True))
    assert rows[1] == dict(zip(KEYS, ["told", 3.0, "×", None, None, None, None], strict=True))


def test_a_real_benchmark_measures_all_three_commands():
    rows = startup.run(Options(with_peer=False, samples=1))
    assert {row.name for row in rows} == {"agent --help", "evals --help", "results --help"}
    assert all(row.value > 0 for row in rows)


def test_a_name_that_is_none_is_a_usage_error(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_info:
        main(["nothing"])
    assert exit_info.value.code == 2
    assert "startup" in capsys.readouterr().err


def test_the_table_says_which_target_is_missed():
    met, missed = Measurement("quick", 1, "s", 2), Measurement("slow", 3, "s", 2)
    _, _, first, second = table([met, missed]).splitlines()
    assert [cell.strip() for cell in first.split("|")[1:5]] == ["quick", "1 s", "2 s", "yes"]
    assert [cell.strip() for cell in second.split("|")[1:5]] == ["slow", "3 s", "2 s", "NO"]


def test_a_section_of_the_results_is_renewed_and_the_others_stay(tmp_path: Path):
    page = tmp_path / "RESULTS.md"
    write_section("step", [Measurement("old figure", 1, "ms")], "0.1", page)
    write_section("startup", [Measurement("help", 0.2, "s")], "0.2", page)
    before = page.read_text("utf-8")
    write_section("step", [Measurement("new figure", 2, "ms")], "0.3", page)
    after = page.read_text("utf-8")
    assert "new figure" in after
    assert "old figure" not in after
    assert after.split("\n## step")[0] == before.split("\n## step")[0]
    assert after.count("\n## ") == 2
