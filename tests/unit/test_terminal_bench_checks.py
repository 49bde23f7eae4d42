"""The lists of docs/terminal-bench-checks.md name what there is."""

import re
from pathlib import Path

from evals.terminal_bench.dataset_directory import find_tasks

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "terminal-bench-checks.md").read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its own."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in cells[1:]]


def test_every_task_of_the_suite_is_whole_and_stands_for_something() -> None:
    found = find_tasks(ROOT / "evals" / "terminal_bench" / "suite")
    named = {name for _, names in rows("The bundled suite") for name in names.split(", ")}

    assert not found.invalid
    assert not [warning for task in found.tasks for warning in task.warnings]
    assert {task.path.name for task in found.tasks} == named
    assert len(named) >= 12


def test_every_defect_has_a_test() -> None:
    tests = {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text("utf-8"))
    }
    defects = rows("Defects that are known from elsewhere")

    named = [set(re.findall(r"`(test_\w+)`", shown)) for _, shown in defects]
    assert not {name for names in named for name in names} - tests
    assert [shown for (_, shown), tests_of_it in zip(defects, named, strict=True) if not tests_of_it] == [
        "measured: `python -m benchmarks`, the oracle's trial"
    ]
