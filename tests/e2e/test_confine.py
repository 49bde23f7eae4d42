"""`agent run --confine`: commands and edits that reach the repository and nothing else of the user's."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_desk import DONE, WriteScript, check_record, run_to_its_end
from real_things import Console, GitRepository, calls

from results.records.events import StartEvent, ToolResultEvent
from runners.confinement import ConfinementError, check_confinement


def _why_not() -> str:
    try:
        check_confinement()
    except ConfinementError as error:
        return str(error)
    return ""


_REASON = _why_not()
needs_bubblewrap = pytest.mark.skipif(bool(_REASON), reason=f"{_REASON} (scripts/test_tools installs it)")


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder of the user's that is neither in the repository nor below /tmp."""
    with tempfile.TemporaryDirectory(prefix="unbroken-test-", dir=Path.home()) as folder:
        yield Path(folder)


def results(console: Console) -> list[str]:
    return [str(event.sent["content"]) for event in console.events() if isinstance(event, ToolResultEvent)]


@needs_bubblewrap
def test_work_is_done_in_the_repository_and_nothing_outside_of_it_changes(
    console: Console, repository: GitRepository, write_script: WriteScript, outside: Path
):
    (repository.path / "way-out").symlink_to(outside / "linked")
    edit = {"command": "create", "path": "", "file_text": "made\n"}
    edits = [
        {"name": "str_replace_editor", "arguments": {**edit, "path": str(path)}}
        for path in (repository.path / "made", outside / "made", repository.path / "way-out")
    ]
    script = write_script(
        calls(f"echo hi >greeting; echo x >{outside}/made; rm -rf {outside}; git commit -qam work"),
        {"content": "", "tool_calls": edits},
        DONE,
    )
    run_to_its_end(console, repository, script, "--confine")

    start = console.events()[0]
    assert isinstance(start, StartEvent)
    assert start.sandbox == "local, confined"
    assert list(outside.iterdir()) == []
    assert (repository.read("greeting"), repository.read("made")) == ("hi\n", "made\n")
    assert repository.git("log", "--format=%s").split() == ["work", "state"]
    check_record(console, "finished")
    command, inside, refused, linked = results(console)
    assert "Read-only file system" in command
    assert "Permission denied" not in inside
    assert "Permission denied" in refused
    assert "Permission denied" in linked


def test_container_is_confined_as_it_is(console: Console, repository: GitRepository):
    done = console.agent("run", "x", "--repo", repository.path, "--confine", "--sandbox", "docker:image")
    assert done.code == 2
    assert "--confine" in done.err


def test_where_commands_cannot_be_confined_nothing_begins(
    console: Console, repository: GitRepository, write_script: WriteScript, tmp_path: Path
):
    program = tmp_path / "programs" / "bwrap"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
    program.chmod(0o755)
    done = console.agent(
        "run", "x", "--repo", repository.path, "--approve", "all", "--confine", "--backend",
        write_script(calls("touch made"), DONE), PATH=f"{program.parent}:{console.environment['PATH']}",
    )  # fmt: skip
    assert done.code == 1
    assert done.err.startswith("error: commands cannot be confined")
    assert "No permissions to create new namespace" in done.err
    assert not (console.home / "data").exists()
    assert not (repository.path / "made").exists()


@needs_bubblewrap
def test_linked_worktree_is_told_what_will_not_work(
    console: Console, repository: GitRepository, write_script: WriteScript, outside: Path
):
    repository.git("clone", "--quiet", ".", str(outside / "main"))
    GitRepository(outside / "main", repository.environment).git("worktree", "add", "--quiet", str(outside / "linked"))
    linked = GitRepository(outside / "linked", repository.environment)
    done = run_to_its_end(console, linked, write_script(calls("echo hi >greeting"), DONE), "--confine")
    assert "keeps git's data elsewhere" in done.err
    assert linked.read("greeting") == "hi\n"
    assert "+hi" in console.patch()
