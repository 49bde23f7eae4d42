"""The image that our own tasks and tests build on: what is in it, and how scripts/base_image brings it."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MEGABYTE = 10**6


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """The base image; with UNBROKEN_LONG one made from nothing for this test, and removed again."""
    if not os.environ.get("UNBROKEN_LONG"):
        yield "unbroken/base:1"
        return
    name = f"unbroken/base:test-{uuid.uuid4().hex[:8]}"
    try:
        run("scripts/base_image", name)
        yield name
    finally:
        run("docker", "image", "rm", "--force", name)


def test_the_image_has_what_tasks_need(image: str) -> None:
    said = in_container(
        image, "bash --version && git --version && python3 -m pytest --version && patch --version && ps"
    )
    assert "pytest 7" in said
    assert in_container(image, "python3 -V").startswith("Python 3.11.")
    assert in_container(image, "test -s /etc/ssl/certs/ca-certificates.crt && echo trusted") == "trusted\n"


def test_a_test_suite_in_a_git_repository_runs_without_a_network(image: str) -> None:
    said = in_container(
        image,
        "cd $(mktemp -d) && git init --quiet && echo 'def test_ä(): print(\"ü\")' > test_it.py && git add . "
        "&& git -c user.name=a -c user.email=b@c commit --quiet -m 'ö' && git log --format=%s && python3 -m pytest -s",
    )
    assert said.startswith("ö\n")
    assert "ü" in said
    assert "1 passed" in said


def test_the_image_is_small_labelled_and_free_of_what_nobody_reads(image: str) -> None:
    size, label = run(
        "docker", "image", "inspect", "--format", '{{.Size}} {{index .Config.Labels "unbroken.image"}}', image
    ).split()
    assert int(size) < 300 * MEGABYTE
    assert label == "base"
    assert in_container(image, "find /var/lib/apt/lists /var/cache/apt /usr/share/man -type f | wc -l").strip() == "0"


def test_an_image_that_is_there_is_left_as_it_is(image: str) -> None:
    before = identity(image)
    assert run("scripts/base_image", image) == ""
    assert identity(image) == before


def identity(image: str) -> str:
    """Return the image's id."""
    return run("docker", "image", "inspect", "--format", "{{.Id}}", image)


def in_container(image: str, script: str) -> str:
    """Return what a bash script prints in a container without a network."""
    return run("docker", "run", "--rm", "--network", "none", image, "bash", "-c", script)


def run(*command: str) -> str:
    """Return what a command prints; one that fails fails the test with its own words."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
