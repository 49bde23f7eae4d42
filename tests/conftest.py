"""What all tests share: see `real_things`."""

import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from real_things import Console, GitRepository, Reply, clean_environment, script_text
from shared_server import s3_environment
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

__all__ = ["s3_environment"]

IN_ONE_PROCESS = (
    "tests/docker/test_base_image.py",
    "tests/docker/test_engine_restart.py",
    "tests/docker/test_hostile.py",
    "tests/docker/test_images.py",
    "tests/docker/test_podman.py",
    "tests/docker/test_prepare_instance.py",
    "tests/docker/test_real_instances.py",
    "tests/e2e/test_demo.py",
)
"""Files whose tests share what takes long to make: an engine, an image, a whole run."""


class _Scheduling(LoadScopeScheduling):
    """Each test goes to whichever process is free, but those of a file that is listed go to one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file in IN_ONE_PROCESS else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Spread tests over processes; `--dist loadgroup`, which is meant for that, finds no group under pytest 9.2."""
    return _Scheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def _users_data(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What runs in this process leaves nothing among the data of whoever runs the tests."""
    os.environ["XDG_DATA_HOME"] = str(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session", autouse=True)
def _signals() -> None:
    """A shell that starts the tests in the background lets them, and all that they start, ignore Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of a user who has nothing yet."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def make_repository(tmp_path: Path, home: Path) -> Callable[..., GitRepository]:
    """Make a git repository: by name, with a first commit of `files` (none: without a commit)."""

    def make(name: str = "repository", **files: str) -> GitRepository:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        repository = GitRepository(folder, clean_environment(home))
        repository.git("init", "--quiet", "--initial-branch=main")
        if files:
            repository.commit(**files)
        return repository

    return make


@pytest.fixture
def repository(make_repository: Callable[..., GitRepository]) -> GitRepository:
    """A repository with one commit of one file."""
    return make_repository(greeting="hello\n")


@pytest.fixture
def write_script(tmp_path: Path) -> Callable[..., str]:
    """Write a script for a scripted backend; what comes back goes behind `--backend`."""
    numbers = itertools.count(1)

    def write(*replies: Reply, **settings: Any) -> str:
        file = tmp_path / f"script-{next(numbers)}.yaml"
        file.write_text(script_text(replies, **settings), encoding="utf-8")
        return f"scripted:{file}"

    return write


@pytest.fixture
def console(home: Path) -> Console:
    """Our console commands."""
    return Console(home, clean_environment(home))


@pytest.fixture
def git_without_settings(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Let this process, and the git that it starts, have nothing but what a new user has."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name, value in clean_environment(home).items():
        monkeypatch.setenv(name, value)
