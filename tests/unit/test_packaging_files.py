"""What a bare machine relies on: the lock file, the scripts that set the machine up, and the one command of CI."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lock() -> str:
    """The text of requirements.lock."""
    return (ROOT / "requirements.lock").read_text()


def test_every_locked_distribution_has_one_version_and_a_hash(lock: str) -> None:
    for requirement in requirements(lock):
        assert re.match(r"[a-z0-9.-]+==\S+ ", requirement), requirement
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", requirement), requirement


def test_the_lock_says_nothing_of_where_distributions_come_from(lock: str) -> None:
    assert "://" not in lock
    assert not re.search(r"--(index|extra-index|find-links|trusted-host)", lock)


def test_every_distribution_that_pyproject_names_is_locked(lock: str) -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = [
        *pyproject["build-system"]["requires"],
        *pyproject["project"]["dependencies"],
        *pyproject["project"]["optional-dependencies"]["dev"],
    ]
    locked = {normalised(requirement) for requirement in requirements(lock)}
    assert {normalised(requirement) for requirement in named} <= locked


def test_ci_runs_what_everyone_runs() -> None:
    commands = [line for line in (ROOT / ".ci/run").read_text().splitlines() if line and not line.startswith("#")]
    assert commands == ["exec make test"]


def test_make_alone_lists_every_target_that_is_meant_for_people() -> None:
    listed = run("make", "--no-print-directory").stdout
    for target in ("setup", "demo", "test", "test-long", "check", "bench"):
        assert re.search(rf"^make {target} +\w", listed, re.MULTILINE), target


def test_an_interpreter_that_does_not_fit_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    copy = tmp_path / "scripts" / "setup"
    copy.parent.mkdir()
    copy.write_text((ROOT / "scripts/setup").read_text())
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "mine").touch()
    refused = run("bash", str(copy), PYTHON="/nowhere/python3")
    assert refused.returncode == 1
    assert refused.stderr.startswith("setup: PYTHON=/nowhere/python3 is not a Python >= 3.11")
    assert (tmp_path / ".venv" / "mine").exists()


def test_an_engine_that_docker_host_names_is_never_replaced_by_another(tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/nobody.sock"
    refused = run("scripts/docker_engine", DOCKER_HOST=address)
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert "DOCKER_HOST" in refused.stderr


def test_a_base_image_needs_an_engine_and_says_so(tmp_path: Path) -> None:
    refused = run("scripts/base_image", DOCKER_HOST=f"unix://{tmp_path}/nobody.sock")
    assert refused.returncode == 1
    assert refused.stderr == "base image: no Docker engine answers; run scripts/docker_engine first.\n"


def requirements(lock: str) -> list[str]:
    """Return one string for each requirement, its hashes included."""
    lines = [line for line in lock.splitlines() if not line.lstrip().startswith("#")]
    return [requirement for requirement in "\n".join(lines).replace("\\\n", " ").splitlines() if requirement.strip()]


def normalised(requirement: str) -> str:
    """Return the distribution's name as PyPA's name normalisation spells it, without version or extras."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found.group()).lower()


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the repository with some environment variables of its own."""
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
