"""`agent run --sandbox docker:IMAGE`: the repository is copied in, and comes back as a diff or not at all."""

import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from docker import DockerClient
from engine_owners import owners
from real_things import Console, Done, GitRepository, calls, end, wait_for

from results.records.events import EndEvent
from results.trajectory import read_trajectory

IMAGE = "unbroken/base:1"
WriteScript = Callable[..., str]
DONE = {"content": "done"}
EDIT = calls(
    "pwd; echo world >>greeting; chmod +x greeting; printf '\\000\\001' >data", "cat .git/config >/dev/null && ls"
)


@pytest.fixture(autouse=True)
def nothing_is_left(client: DockerClient, console: Console) -> Generator[None]:
    """Every container that a test makes is gone when it ends."""
    yield
    assert not [owner for owner in owners(client) if owner.process_id in console.process_ids]


@contextmanager
def built(dockerfile: str) -> Generator[str]:
    """An image for the length of a test."""
    name = f"unbroken-test/{secrets.token_hex(6)}:1"
    command = ["docker", "build", "--quiet", "--network", "none", "--tag", name, "-"]
    subprocess.run(command, input=dockerfile.encode(), check=True, capture_output=True)
    try:
        yield name
    finally:
        subprocess.run(["docker", "rmi", name], check=True, capture_output=True)


def run(console: Console, repository: GitRepository, script: str, *options: str | Path, image: str = IMAGE) -> Done:
    return console.agent("run", "x", "--repo", repository.path, "--sandbox", f"docker:{image}", "--approve", "all",
                         "--backend", script, *options)  # fmt: skip


def state(repository: GitRepository) -> tuple[dict[str, str], str, str]:
    return (
        repository.git_data(),
        repository.read("greeting"),
        repository.git("--no-optional-locks", "status", "--porcelain"),
    )


def test_work_stays_in_the_container_until_it_is_applied(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    repository.write("greeting", "hello, uncommitted\n")
    repository.write("untracked", "x\n")
    before = state(repository)
    done = run(console, repository, write_script(EDIT, DONE))
    assert done.code == 0, done.err
    assert "  /workspace\n" in done.out
    assert " hello, uncommitted\n+world\n" in done.out
    assert "untracked" not in console.patch()
    assert state(repository) == before

    hint = next(line for line in done.err.splitlines() if "to take the work over: " in line).partition("over: ")[2]
    taken = console.run(["bash", "-c", hint])
    assert taken.code == 0, taken.err
    assert repository.read("greeting") == "hello, uncommitted\nworld\n"
    assert (repository.path / "data").read_bytes() == b"\0\1"
    assert (repository.path / "greeting").stat().st_mode & 0o111


def test_apply_takes_the_work_over_from_a_folder_below(
    console: Console, make_repository: Callable[..., GitRepository], write_script: WriteScript
):
    repository = make_repository(**{"top": "1\n", "sub/in": "1\n"})
    script = write_script(calls("pwd; echo 2 | tee in >../top; git commit --quiet -am work"), DONE)
    before = repository.git_data()
    done = console.agent("run", "x", "--sandbox", f"docker:{IMAGE}", "--approve", "all", "--apply", "--backend", script,
                         cwd=repository.path / "sub")  # fmt: skip
    assert done.code == 0, done.err
    assert "  /workspace/sub\n" in done.out
    assert f"applied to {repository.path}" in done.err
    assert (repository.read("top"), repository.read("sub/in")) == ("2\n", "2\n")
    assert repository.git_data() == before


def test_diff_that_no_longer_fits_is_kept(console: Console, repository: GitRepository, write_script: WriteScript):
    process = console.start(
        "run", "x", "--repo", repository.path, "--sandbox", f"docker:{IMAGE}", "--approve", "all", "--apply",
        "--backend", write_script(calls("echo world >greeting"), {"content": "slow " * 40}, token_delay=0.05),
    )  # fmt: skip
    wait_for_text(console, "world >greeting")
    repository.write("greeting", "meanwhile\n")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, (out, err)
    assert b"does not apply" in err
    assert str(console.session() / "patch.diff").encode() in err
    assert repository.read("greeting") == "meanwhile\n"
    assert "+world" in console.patch()


def wait_for_text(console: Console, text: str) -> None:
    """Wait until the session that runs has recorded something."""
    wait_for(console.home / "data" / "unbroken" / "sessions")
    trajectory = console.session() / "trajectory.jsonl"
    wait_for(trajectory)
    while text not in trajectory.read_text():
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_keeps_the_work_and_removes_the_container(
    console: Console, repository: GitRepository, write_script: WriteScript, number: signal.Signals
):
    process = console.start(
        "run", "x", "--repo", repository.path, "--sandbox", f"docker:{IMAGE}", "--approve", "all",
        "--backend", write_script(calls("echo kept >new"), calls("sleep 300"), DONE),
    )  # fmt: skip
    wait_for_text(console, '"tool_result"')
    done = end(process, number)
    assert done.code == 130
    assert "Traceback" not in done.err
    assert "+kept" in done.out
    assert not (repository.path / "new").exists()
    last = list(read_trajectory(console.session() / "trajectory.jsonl"))[-1]
    assert isinstance(last, EndEvent)
    assert last.outcome.exit == "interrupted"


def test_image_that_cannot_be_had_is_named(console: Console, repository: GitRepository, write_script: WriteScript):
    missing = "localhost:1/no/such-image:1"
    for image, words in ((missing, f"the image {missing} is not on this machine"), ("No Image", "invalid reference")):
        done = run(console, repository, write_script(DONE), image=image)
        assert done.code == 1
        assert words in done.err
        assert "Traceback" not in done.err


def test_image_whose_user_is_not_root_can_write_or_is_told_that_it_cannot(
    console: Console, repository: GitRepository, write_script: WriteScript
):
    with built("FROM unbroken/base:1\nRUN useradd --create-home someone\nUSER someone\n") as image:
        done = run(console, repository, write_script(calls("id -un; echo mine >>greeting"), DONE), image=image)
    if done.code == 0:
        assert "  someone\n" in done.out
        assert "+mine" in console.patch()
    else:  # engines before 23 take root's capabilities as well
        assert done.code == 1
        assert "use an image whose user is root" in done.err


def test_image_without_git_is_told(console: Console, repository: GitRepository, write_script: WriteScript):
    with built("FROM unbroken/base:1\nRUN rm -f /usr/bin/git\n") as image:
        done = run(console, repository, write_script(DONE), image=image)
    assert done.code == 1
    assert "git is not installed where /workspace is" in done.err


@pytest.mark.parametrize("kind", ["worktree", "shared clone"])
def test_repository_that_cannot_be_copied_is_refused(
    console: Console, repository: GitRepository, write_script: WriteScript, tmp_path: Path, kind: str
):
    other = tmp_path / "other"
    if kind == "worktree":
        repository.git("worktree", "add", "--quiet", str(other))
    else:
        repository.git("clone", "--quiet", "--shared", ".", str(other))
    done = run(console, GitRepository(other, repository.environment), write_script(DONE))
    assert done.code == 2
    assert "cannot be copied into a container" in done.err
    assert "--sandbox local" in done.err
