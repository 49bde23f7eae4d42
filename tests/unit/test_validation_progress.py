"""A validation goes on where it was, under the same conditions alone."""

from pathlib import Path

import pytest

from evals.validation_progress import ValidationProgressError, open_progress
from results.record_files import DamagedFileError
from results.records.reliability import Reliability, TaskReliability, ValidationConditions

CONDITIONS = ValidationConditions(
    source="demo", revision=None, content_sha256="0" * 64, repeat=3, timeout_seconds=1800, grade_network="bridge",
    verifier="swebench 5.0.2",
)  # fmt: skip


def of(task: str, reliability: Reliability = "reliable") -> TaskReliability:
    return TaskReliability(task_id=task, reliability=reliability, gold_resolved=[True], nop_resolved=[False])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two tasks are done, and a third could not be judged."""
    path = tmp_path / "reliable.json.progress.jsonl"
    with open_progress(path, CONDITIONS) as progress:
        for found in (of("a"), of("b", "flaky"), of("c", "unknown")):
            progress.note(found)
    return path


def test_what_is_done_is_known_and_what_could_not_be_judged_is_left_to_do(path: Path) -> None:
    with open_progress(path, CONDITIONS) as progress:
        assert progress.found == {"a": of("a"), "b": of("b", "flaky")}
        progress.note(of("c"))
    with open_progress(path, CONDITIONS) as progress:
        assert list(progress.found) == ["a", "b", "c"]


def test_half_a_line_of_a_killed_one_is_passed_over(path: Path) -> None:
    for kept in range(len(path.read_bytes()) + 1):
        cut = path.with_name("cut")
        cut.write_bytes(path.read_bytes()[:kept])
        with open_progress(cut, CONDITIONS) as progress:
            progress.note(of("d"))
        with open_progress(cut, CONDITIONS) as progress:
            assert "d" in progress.found


def test_other_conditions_are_refused_with_what_differs(path: Path) -> None:
    other = CONDITIONS.model_copy(update={"repeat": 5, "grade_network": "none"})
    before = path.read_bytes()
    with (
        pytest.raises(
            ValidationProgressError, match=r"another repeat \(3, now 5\), grade network \(bridge, now none\)"
        ),
        open_progress(path, other),
    ):
        raise AssertionError
    assert path.read_bytes() == before


def test_two_at_once_are_refused(path: Path) -> None:
    with (
        open_progress(path, CONDITIONS),
        pytest.raises(ValidationProgressError, match="another `evals validate` is at work"),
        open_progress(path, CONDITIONS),
    ):
        raise AssertionError


def test_what_is_no_progress_is_refused(tmp_path: Path) -> None:
    for text in ("{}\n", of("a").model_dump_json() + "\n"):
        path = tmp_path / "file"
        path.write_text(text)
        with pytest.raises(DamagedFileError, match="file"), open_progress(path, CONDITIONS):
            raise AssertionError
