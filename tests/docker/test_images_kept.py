"""What `evals images` never removes: images that a live run still needs, and images that others brought."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from images_desk import EVALS, Desk, as_user, desk, engine_info, image_id, layer
from registry_server import Fault, Published
from tries_desk import begin

from evals.images import engine_pull, pulling, using
from evals.images.eviction import OwnImages, remove
from evals.images.layers import local_image
from evals.images.leases import Leases
from evals.images.patience import ImageError
from evals.images.pulled_images import PulledImages
from evals.images.pulling import Pulled, Pulling, WantedImage
from evals.images.registry import Registries
from evals.images.remote_images import RemoteImages, engine_platform
from evals.run import RunSettings
from evals.swebench.dataset import AnyInstance, Row
from results.records.outcome import Outcome
from runners.docker_engine import ensure_image
from tools.sandbox import Sandbox

__all__ = ["as_user", "desk"]

TAKE_A_LEASE = """
import sys
from evals.images.leases import Leases
from evals.images.pulled_images import PulledImages
from runners.docker_engine import connect
Leases.beside(PulledImages.of(connect())).take("killed", {sys.argv[1]: None})
"""


@dataclass
class Waiting:
    """An agent that begins, and ends when it is told to."""

    name: str = "nop"
    began: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def work(self, row: AnyInstance, sandbox: Sandbox, listener: object) -> Outcome:
        self.began.set()
        await self.go_on.wait()
        return Outcome(exit="submitted")


def tag(client: DockerClient, image: str, name: str) -> None:
    api: Any = client.api
    api.tag(image, name.rpartition(":")[0], name.rpartition(":")[2])


def own_copy(desk: Desk, row: Row, name: str) -> Row:
    """The row with an image of its own, which counts as pulled by us."""
    repository = f"{desk.registry.host}/{desk.prefix}/{name}"
    image = f"{repository}:latest"
    container: Any = desk.client.containers.create(row.image)
    # Not the same image under another name: containers of other tests use that.
    container.commit(repository, "latest", changes=f"LABEL test={desk.prefix}")
    container.remove()
    local = local_image(desk.client, image)
    assert local
    PulledImages.of(desk.client).add(local)
    return row.model_copy(update={"image": image})


async def test_a_run_keeps_the_images_of_all_its_trials_until_it_is_over(
    desk: Desk, as_user: None, demo_rows: dict[str, Row], tmp_path: Path
) -> None:
    rows = [own_copy(desk, demo_rows[name], name) for name in ("tally", "lapse")]
    agent = Waiting()
    run = begin(tmp_path / "runs", rows, agent, RunSettings(concurrency=1))
    await asyncio.wait_for(agent.began.wait(), 60)
    (worked_on,) = [row for row in rows if run.directory.trial(row.instance_id, 1).tries()]
    (queued,) = [row for row in rows if row is not worked_on]
    done = await asyncio.to_thread(desk.images, "prune", "--all")
    assert done.code == 1
    for row in (worked_on, queued):
        assert f"kept {row.image}: in use by run {run.directory.manifest.run_id}" in done.err
        assert image_id(desk.client, row.image)
    agent.go_on.set()
    result = await run.over
    assert (result.finished, result.errors) == (2, 0)
    assert (await asyncio.to_thread(desk.images, "prune", "--all")).code == 0
    assert [image_id(desk.client, row.image) for row in rows] == [None, None]


def test_a_budget_leaves_what_a_live_run_needs_and_takes_what_a_dead_one_needed(desk: Desk, as_user: None) -> None:
    images = [desk.publish(name, layer(1000)) for name in ("a", "b", "c", "d")]
    for number in ("1", "2", "3"):
        assert desk.images("pull", only=number).code == 0
    lease = Leases.beside(PulledImages.of(desk.client)).take("mine", {images[0].name: None})
    subprocess.run([sys.executable, "-c", TAKE_A_LEASE, images[1].name], check=True)
    would = desk.images("prune", "--budget", "2500k", "--dry-run")
    assert would.err.strip() == f"kept {images[0].name}: in use by run mine"
    assert would.out.splitlines()[0] == f"would remove {images[1].name}"
    done = desk.images("pull", "--budget", "3200k", only="4")
    assert done.code == 0, done.err
    assert f"kept {images[0].name}: in use by run mine" in done.err
    assert desk.has(*images) == [True, False, True, True]
    lease.unlink()
    assert desk.images("prune", "--all").code == 0
    assert desk.has(*images) == [False] * 4


def test_a_run_that_begins_while_others_prune_keeps_its_images(desk: Desk, as_user: None) -> None:
    image = desk.publish("a")
    assert desk.images("pull").code == 0
    record = PulledImages.of(desk.client)
    (own,) = OwnImages(desk.client, record).here()  # chosen to go
    lease = Leases.beside(record).take("new", {image.name: None})
    with pytest.raises(ImageError, match="in use by run new"):
        remove(desk.client, record, own)
    assert desk.has(image) == [True]
    lease.unlink()
    remove(desk.client, record, own)
    assert desk.has(image) == [False]


def test_a_lease_that_is_not_understood_ends_the_pruning_and_is_named(desk: Desk, as_user: None) -> None:
    image = desk.publish("a")
    assert desk.images("pull").code == 0
    lease = Leases.beside(PulledImages.of(desk.client)).take("mine", {})
    lease.write_text("{")
    done = desk.images("prune", "--all")
    assert done.code == 2
    assert f"{lease} is damaged" in done.err
    assert desk.has(image) == [True]


@pytest.mark.parametrize("by", ["command", "trial"])
def test_an_image_that_somebody_had_already_is_not_ours_for_being_pulled_again(
    desk: Desk, as_user: None, by: str
) -> None:
    image = desk.publish("a")
    by_digest = f"{image.name.rpartition(':')[0]}@{image.digest}"
    ensure_image(desk.client, by_digest)
    if by == "command":
        assert desk.images("pull").code == 0
    else:
        using.use_image(desk.client, image.name)
    assert desk.has(image) == [True]
    assert desk.images("prune", "--all").code == 0
    assert image_id(desk.client, by_digest)
    desk.remove(image)


def test_two_names_of_an_image_that_we_pulled_are_both_ours(desk: Desk) -> None:
    content = layer()
    one, two = desk.publish("a", content), desk.publish("b", content)
    assert desk.images("pull", only="1").code == 0
    assert desk.images("pull", only="2").code == 0
    assert image_id(desk.client, one.name) == image_id(desk.client, two.name)
    assert desk.images("prune", "--all").code == 0
    assert desk.has(one, two) == [False, False]


def nobody(_: object) -> None:
    pass


def pulled(desk: Desk, image: Published, tell: Callable[[str], None] = nobody) -> Pulled:
    with Registries() as registries:
        remote = RemoteImages(registries, engine_platform(engine_info(desk.client)), desk.folder / "cache")
        work = Pulling(desk.client, PulledImages.of(desk.client), remote, tell=tell)
        (result,) = work.pull_all([WantedImage("acme/one", "", image.name)], nobody)
    return result


@pytest.fixture
def theirs(desk: Desk) -> str:
    """An image that somebody else has."""
    image = desk.publish("theirs")
    desk.rows.pop()
    ensure_image(desk.client, image.name)
    return image.name


def test_a_name_that_somebody_gives_away_while_a_pull_waits_stays_theirs(
    desk: Desk, as_user: None, theirs: str
) -> None:
    image = desk.publish("a")
    desk.registry.faults.append(Fault("/a/manifests", times=2, status=500))

    def tell(_: str) -> None:
        tag(desk.client, theirs, image.name)

    result = pulled(desk, image, tell)
    assert result.was_here
    assert image_id(desk.client, image.name) == image_id(desk.client, theirs)
    assert PulledImages.of(desk.client).read() == {}


def test_a_name_that_somebody_gives_away_right_after_a_pull_is_theirs(
    desk: Desk, as_user: None, theirs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = desk.publish("a")

    def pull(client: DockerClient, name: str) -> object:
        answer = engine_pull.pull(client, name)
        tag(client, built(desk), name)
        return answer

    monkeypatch.setattr(pulling, "pull", pull)
    pulled(desk, image)
    assert desk.images("prune", "--all").code == 0
    assert desk.has(image) == [True]


@pytest.mark.parametrize("when", ["tagged", "built"])
def test_a_name_that_somebody_gives_away_before_a_trial_pulls_is_theirs(
    desk: Desk, as_user: None, theirs: str, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    image = desk.publish("a")

    def ensure(client: DockerClient, name: str) -> str:
        tag(client, theirs if when == "tagged" else built(desk), name)
        return ensure_image(client, name)

    monkeypatch.setattr(using, "ensure_image", ensure)
    using.use_image(desk.client, image.name)
    assert desk.images("prune", "--all").code == 0
    assert desk.has(image) == [True]


def built(desk: Desk) -> str:
    """The id of an image that came from no registry, and was not here before."""
    api: Any = desk.client.api
    name = f"{desk.registry.host}/{desk.prefix}/built"
    api.import_image_from_data(layer(), repository=name, tag="latest")
    found = image_id(desk.client, f"{name}:latest")
    assert found
    return found


def test_a_trial_says_that_its_image_is_another_than_the_one_before(
    desk: Desk, as_user: None, caplog: pytest.LogCaptureFixture
) -> None:
    before = desk.publish("one")
    using.use_image(desk.client, before.name)
    assert caplog.text == ""
    desk.remove(before)
    desk.rows.clear()
    after = desk.publish("one")
    assert using.use_image(desk.client, after.name) == image_id(desk.client, after.name)
    assert f"{after.name} is another image than before: the digest was {before.digest}, and is {after.digest}" in (
        caplog.text
    )
    desk.remove(after)
    caplog.clear()
    using.use_image(desk.client, after.name)
    assert caplog.text == ""


def test_a_command_shows_on_stderr_that_an_image_is_another_one(desk: Desk, as_user: None) -> None:
    before = desk.publish("one")
    using.use_image(desk.client, before.name)
    desk.remove(before)
    desk.rows.clear()
    after = desk.publish("one")
    desk.command("status")  # writes the dataset
    dataset, output = desk.folder / "rows.json", desk.folder / "reliable.json"
    command = [EVALS, "validate", "--dataset", str(dataset), "--repeat", "1", "--output", str(output)]
    done = desk.console.run(command)
    assert f"the digest was {before.digest}, and is {after.digest}" in done.err
