"""The images of the demo suite, built by a real engine under tags of this test's own, and removed again."""

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from evals.demo.suite import build_images, load_rows
from runners.docker_engine import ImageUnavailableError, connect

if TYPE_CHECKING:
    from docker import DockerClient

Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def client() -> Iterator["DockerClient"]:
    """A connection to the engine."""
    client = connect()
    yield client
    client.close()


@pytest.fixture(scope="module")
def rows(client: "DockerClient") -> Iterator[Rows]:
    """Rows whose images nobody has built yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evals.demo.task._IMAGE_RECIPE", f"test {uuid.uuid4()}")
        rows = load_rows()
        yield rows
    for row in rows:
        if client.images.list(row["image"]):
            remove_image(client, row["image"])


async def test_all_images_are_built_and_the_second_time_nothing_is_done(client: "DockerClient", rows: Rows) -> None:
    said: list[str] = []
    await build_images(client, report=said.append)
    assert sorted(said) == [f"built {row['image']}" for row in rows]
    ids = image_ids(client, rows)
    assert len(set(ids)) == 6

    await build_images(client, report=said.append)
    assert len(said) == 6
    assert image_ids(client, rows) == ids


async def test_only_what_is_missing_is_built(client: "DockerClient", rows: Rows) -> None:
    said: list[str] = []
    await build_images(client, rows, said.append)
    said.clear()
    for row in rows[:2]:
        remove_image(client, row["image"])
    await build_images(client, rows[1:], said.append)
    assert said == [f"built {rows[1]['image']}"]
    await build_images(client, rows, said.append)
    assert said[1:] == [f"built {rows[0]['image']}"]


async def test_the_repository_is_at_the_base_commit_with_the_future_behind_it(
    client: "DockerClient", rows: Rows
) -> None:
    await build_images(client, rows)
    for row in rows:
        labels = client.images.get(row["image"]).labels
        assert labels["unbroken.image"] == "demo"
        assert labels["unbroken.instance"] == row["instance_id"]
        said = in_image(
            client,
            row["image"],
            "pwd; git rev-parse HEAD origin/main^; git status --porcelain; stat -c %U:%G:%a . .git README.md",
        )
        base = row["base_commit"]
        assert said.split() == ["/testbed", base, base, "root:root:755", "root:root:755", "root:root:644"]


async def test_the_evaluation_script_runs_the_tests(client: "DockerClient", rows: Rows) -> None:
    row = next(row for row in rows if row["repo"] == "demo/calends")
    await build_images(client, [row])
    said = in_image(client, row["image"], row["eval_script"])
    assert "Applied patch tests/test_ranges.py cleanly" in said
    assert "FAILED tests/test_ranges.py::test_monthly_comes_back_to_the_31st" in said
    assert "PASSED tests/test_ranges.py::test_monthly_keeps_the_day" in said


async def test_without_the_base_image_one_is_told_how_to_get_it(
    client: "DockerClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("task", "suite"):
        monkeypatch.setattr(f"evals.demo.{module}.BASE_IMAGE", "unbroken/base:never")
    with pytest.raises(ImageUnavailableError, match=r"unbroken/base:never is not on this machine.* run scripts/base"):
        await build_images(client)


def remove_image(client: "DockerClient", image: str) -> None:
    """Remove one image of this test."""
    client.images.remove(image)  # pyright: ignore[reportUnknownMemberType]


def image_ids(client: "DockerClient", rows: Rows) -> list[str | None]:
    """The ids of the images of `rows`."""
    return [client.images.get(row["image"]).id for row in rows]


def in_image(client: "DockerClient", image: str, script: str) -> str:
    """What a bash script prints in a container of the image, without a network."""
    command = ["bash", "-c", f"exec 2>&1\n{script}"]
    output: bytes = client.containers.run(image, command, remove=True, network_mode="none")
    return output.decode()
