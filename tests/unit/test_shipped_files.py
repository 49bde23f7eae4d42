"""Which files of a task's tests and solution go into a container."""

from pathlib import Path

import pytest

from evals.terminal_bench.shipped_files import RULES, shipped


@pytest.fixture
def task(tmp_path: Path) -> Path:
    for name in ("tests/test.sh", "tests/data/big.bin", "tests/data/small.txt", "tests/notes.txt", "solution/solve.sh"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "tests" / "link").symlink_to("test.sh")
    (tmp_path / "tests" / "test.sh").chmod(0o755)
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_without_rules_the_folder_itself_goes(task: Path) -> None:
    with shipped(task / "tests", task) as folder:
        assert folder == task / "tests"
    with shipped(task / "nowhere", task) as folder:
        assert folder == task / "nowhere"


def test_rules_hold_below_where_they_lie(task: Path) -> None:
    (task / RULES).write_text("notes.txt\n.harborignore\n*.txt\n")
    (task / "tests" / "data" / RULES).write_text("/big.bin\n!small.txt\n")
    with shipped(task / "tests", task) as folder:
        assert files(folder) == ["data/small.txt", "link", "test.sh"]
        assert (folder / "test.sh").stat().st_mode & 0o777 == 0o755
        assert (folder / "link").is_symlink()
    assert not folder.exists()
    with shipped(task / "solution", task) as folder:
        assert files(folder) == ["solve.sh"]


def test_a_gitignore_is_no_rule_of_these(task: Path) -> None:
    (task / RULES).write_text("notes.txt\n")
    (task / ".gitignore").write_text("*\n")
    with shipped(task / "tests", task) as folder:
        assert files(folder) == ["data/big.bin", "data/small.txt", "link", "test.sh"]


def test_a_folder_below_where_somebody_stands(task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (task / RULES).write_text("notes.txt\n")
    monkeypatch.chdir(task.parent)
    with shipped(Path(task.name, "tests"), Path(task.name)) as folder:
        assert "notes.txt" not in files(folder)
