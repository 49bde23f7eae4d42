"""Leases on images: they count while their run lives, and no longer."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evals.images.layers import LocalImage
from evals.images.leases import Leases
from results.record_files import DamagedFileError
from runners.owner import this_process

TAKE = """
import sys
from pathlib import Path
from evals.images.leases import Leases
Leases(Path(sys.argv[1])).take("theirs", {"acme/one:1": None})
print("taken", flush=True)
input()
"""


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    return Leases(tmp_path / "engine.leases")


@pytest.fixture
def other(leases: Leases) -> Iterator["subprocess.Popen[str]"]:
    """Another process, which has taken a lease."""
    command = [sys.executable, "-c", TAKE, str(leases.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "taken\n"
        yield process
        process.kill()


def image(name: str, image_id: str = "sha256:id") -> LocalImage:
    return LocalImage(name, image_id, None, {})


def test_a_lease_covers_its_images_under_every_spelling_and_every_name(leases: Leases) -> None:
    assert leases.live() == []
    leases.take("run-1", {"acme/one:1": None, "acme/two": "sha256:two"})
    (lease,) = leases.live()
    assert lease.reason == "in use by run run-1"
    names = ["acme/one:1", "docker.io/acme/one:1", "acme/two:latest"]
    assert [lease.covers(image(name)) for name in names] == [True, True, True]
    assert lease.covers(image("acme/other:1", "sha256:two"))
    assert not lease.covers(image("acme/one:2"))


def test_a_lease_that_is_given_back_no_longer_counts(leases: Leases) -> None:
    path = leases.take("run-1", {"acme/one:1": None})
    leases.take("run-2", {"acme/one:1": None})
    path.unlink()
    with leases.held_still() as live:
        assert [lease.run for lease in live] == ["run-2"]


def test_a_lease_counts_while_its_owner_lives(leases: Leases, other: "subprocess.Popen[str]") -> None:
    assert [lease.run for lease in leases.live()] == ["theirs"]
    other.kill()
    other.wait()
    assert leases.live() == []
    leases.take("run-1", {})
    assert len(list(leases.folder.glob("*.json"))) == 1  # what the dead have left is gone


def test_a_lease_of_another_machine_counts_and_says_how_to_end_it(leases: Leases) -> None:
    path = leases.take("run-1", {"acme/one:1": None})
    path.write_text(path.read_text().replace(str(this_process()), "elsewhere/0a-1b/1/4711/2"))
    (lease,) = leases.live()
    assert lease.reason == f"in use by run run-1 (process 4711 on elsewhere; if that has ended, remove {path})"
    path.write_text(path.read_text().replace("elsewhere/0a-1b/1/4711/2", "nobody"))
    assert [lease.covers(image("acme/one:1")) for lease in leases.live()] == [True]


@pytest.mark.parametrize(
    "content", ["", "{", '{"format": 99, "owner": "", "run": "", "images": {}}',
                '{"owner": "", "run": "", "images": {"No Image": null}}'],
)  # fmt: skip
def test_a_lease_that_is_not_understood_is_named_and_hinders_no_run(leases: Leases, content: str) -> None:
    path = leases.take("run-1", {})
    path.write_text(content)
    with pytest.raises(DamagedFileError, match=path.name):
        leases.live()
    leases.take("run-2", {})
    assert path.read_text() == content


def test_no_lease_is_taken_while_leases_are_held_still(leases: Leases) -> None:
    command = [sys.executable, "-c", TAKE, str(leases.folder)]
    with leases.held_still() as live:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        assert live == leases.live() == []
    with process:
        assert process.stdout
        assert process.stdout.readline() == "taken\n"
        assert [lease.run for lease in leases.live()] == ["theirs"]
        process.kill()
