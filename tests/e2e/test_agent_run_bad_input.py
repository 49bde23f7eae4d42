"""Bad input to `agent`: each a sentence that names the thing and the way out, the right exit code, no traceback."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from real_things import Console, GitRepository

WriteScript = Callable[..., str]
DONE = {"content": "done"}


def refused(console: Console, *arguments: str | Path, code: int = 2, cwd: Path | None = None) -> str:
    """Run what must fail before anything begins; returns what it says, with its lines as one."""
    done = console.agent(*arguments, cwd=cwd)
    assert done.code == code, done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    assert len(re.findall("^error: ", done.err, re.MULTILINE | re.IGNORECASE)) == 1, done.err
    assert not (console.home / "data").exists()
    return " ".join(done.err.split())


def bare(folder: Path, repository: GitRepository) -> Path:
    repository.git("clone", "--quiet", "--bare", ".", str(folder / "bare"))
    return folder / "bare"


def unborn(folder: Path, repository: GitRepository) -> Path:
    repository.git("init", "--quiet", str(folder / "unborn"))
    return folder / "unborn"


FOLDERS: dict[str, tuple[Callable[[Path, GitRepository], Path], str]] = {
    "missing": (lambda folder, _: folder / "missing", "there is no folder"),
    "file": (lambda _, repository: repository.path / "greeting", "there is no folder"),
    "not git": (lambda folder, _: folder, "is not a git repository: run `git init`"),
    "without commit": (unborn, "is a git repository without a commit"),
    "bare": (bare, "a bare one"),
    "untracked": (lambda _, repository: repository.write("new/x", "x").parent, "tracks nothing in it"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_folder_that_is_no_repository(
    console: Console, repository: GitRepository, tmp_path: Path, write_script: WriteScript, case: str
):
    place, words = FOLDERS[case]
    folder = place(tmp_path, repository)
    said = refused(console, "run", "x", "--repo", folder, "--backend", write_script(DONE))
    assert words in said
    assert str(folder) in said


OPTIONS: dict[str, tuple[list[str], list[str]]] = {
    "sandbox": (["--sandbox", "dokcer:x"], ["--sandbox", "'dokcer:x'", "docker:IMAGE"]),
    "sandbox without image": (["--sandbox", "docker:"], ["--sandbox", "docker:IMAGE"]),
    "apply in place": (["--apply"], ["--apply", "in place"]),
    "toolset": (["--toolset", "hammer"], ["--toolset", "'hammer'", "bash+editor"]),
    "policy": (["--approve", "everything"], ["--approve", "'everything'", "read-only"]),
    "backend name": (["--backend", "vlm"], ["'vlm'", "http://HOST:PORT/v1", "vllm", "scripted:FILE"]),
    "backend with a password": (["--backend", "http://me:pa55word@host/v1"], ["UNBROKEN_API_KEY"]),
    "cost without price": (["--max-cost", "1"], ["--price"]),
    "price": (["--price", "1:2:3:4"], ["--price", "'1:2:3:4'", "PROMPT:OUTPUT"]),
    "price below nothing": (["--price", "-1:2"], ["--price", "PROMPT:OUTPUT"]),
    "price that is none": (["--price", "cheap"], ["--price", "'cheap'", "PROMPT:OUTPUT"]),
    "time that is no number": (["--max-time", "nan"], ["--max-time"]),
    "steps": (["--max-steps", "0"], ["--max-steps"]),
    "unknown option": (["--max-step", "1"], ["--max-step", "--max-steps"]),
    "unknown command": ([], ["No such command", "walk"]),
    "nothing to do": ([], ["TASK", "say what to do"]),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_option_that_cannot_be_used(console: Console, repository: GitRepository, case: str):
    options, words = OPTIONS[case]
    command = {"unknown command": ["walk"], "nothing to do": ["run", "  "]}.get(case, ["run", "x"])
    said = refused(console, *command, *options, cwd=repository.path)
    for word in words:
        assert word in said
    assert "pa55word" not in said


SCRIPTS = {
    "missing": (None, "cannot be read"),
    "no yaml": ("a: [", "is no YAML"),
    "no script": ("- a\n- b\n", "is no mapping"),
    "misspelt": ("scripted: x\nconversations: [{replies: [{contnet: x}]}]\n", "conversations[0].replies[0].contnet"),
}


@pytest.mark.parametrize("case", SCRIPTS)
@pytest.mark.parametrize("command", ["run", "serve-script"])
def test_script_that_cannot_be_played(
    console: Console, repository: GitRepository, tmp_path: Path, case: str, command: str
):
    text, words = SCRIPTS[case]
    file = tmp_path / "s.yaml"
    if text is not None:
        file.write_text(text)
    if command == "run":
        said = refused(console, "run", "x", "--repo", repository.path, "--backend", f"scripted:{file}")
    else:
        said = refused(console, "backends", "serve-script", file)
    assert words in said
    assert str(file) in said


def test_server_that_is_not_there(console: Console, repository: GitRepository):
    said = refused(console, "run", "x", "--repo", repository.path, "--backend", "http://127.0.0.1:9", code=5)
    assert "the backend at http://127.0.0.1:9/v1 cannot be reached" in said
    assert "Is the server running" in said


def test_repository_is_looked_at_before_any_server(console: Console, tmp_path: Path):
    assert "git init" in refused(console, "run", "x", "--repo", tmp_path, "--backend", "http://127.0.0.1:9/v1")


def test_docker_that_does_not_run(
    console: Console, repository: GitRepository, write_script: WriteScript, monkeypatch: pytest.MonkeyPatch
):
    console.environment["DOCKER_HOST"] = "unix:///nonexistent"
    said = refused(console, "run", "x", "--repo", repository.path, "--sandbox", "docker:unbroken/base:1", "--backend",
                   write_script(DONE), code=1)  # fmt: skip
    assert "no Docker engine answers at unix:///nonexistent" in said
    assert "Start Docker" in said


def test_sessions_that_cannot_be_recorded(console: Console, repository: GitRepository, write_script: WriteScript):
    file = repository.path / "greeting"
    said = refused(console, "run", "x", "--repo", repository.path, "--sessions", file, "--backend", write_script(DONE),
                   code=1)  # fmt: skip
    assert f"cannot be recorded in {file}" in said
    assert "--sessions" in said


def test_git_that_is_not_installed(console: Console, repository: GitRepository, tmp_path: Path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "env"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    console.environment["PATH"] = str(programs)
    said = refused(console, "run", "x", "--repo", repository.path, "--backend", "http://127.0.0.1:9/v1", code=1)
    assert "git is not installed" in said


def test_help_begins_with_what_is_used_daily(console: Console):
    done = console.agent("run", "--help")
    assert (done.code, done.err) == (0, "")
    names = ("--repo", "--backend", "--model", "--approve", "--sandbox", "--max-steps", "--temperature", "--sessions")
    order = [done.out.index(f"\n  {name}") for name in names]
    assert order == sorted(order)
    assert "Exit: 0 done, 1 error, 2 usage, 3 limit, 4 denied, 5 backend unreachable, 6" in done.out
    options = done.out.partition("Options:")[2]
    assert not re.search(r"<\w+>", options)  # no types of Python, which mean nothing to who reads this
    short = console.agent("--help")
    assert short.code == 0
    assert short.out.index("\n  run ") < short.out.index("\n  backends ")
    assert "--debug" in short.out
