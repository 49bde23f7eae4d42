"""What dead runs left in a Docker engine: containers, networks, volumes."""

import json
import secrets
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from docker.errors import NotFound
from docker.models.containers import Container
from docker.models.networks import Network
from docker.models.volumes import Volume
from real_things import VENV, Console

from evals.demo.task import BASE_IMAGE
from evals.swebench.dataset import Row
from runners.docker_engine import OWNER_LABEL, RUN_LABEL, SNAPSHOT_LABEL
from runners.docker_sandbox import ContainerSettings, DockerSandbox
from runners.owner import Owner, this_process
from runners.reaper import Reaping, reap, remove_containers

pytestmark = pytest.mark.alone  # what others let die at the same time would be counted

Thing = Container | Network | Volume
EVALS = str(VENV / "bin" / "evals")


@pytest.fixture
def dead() -> Owner:
    """A process that has ended."""
    with subprocess.Popen(["true"]) as process:
        pass
    return replace(this_process(), process_id=process.pid)


@dataclass
class Maker:
    """Makes things in the engine, and sees that they go."""

    client: DockerClient
    made: list[Thing]

    def container(
        self, owner: Owner | str, *, image: str = BASE_IMAGE, network: str = "none", run: str = ""
    ) -> Container:
        container = self.client.containers.create(
            image, ["sleep", "600"], network=network, labels={OWNER_LABEL: str(owner), RUN_LABEL: run},
            volumes=["/anonymous"], init=True, name=self._name(),
        )  # fmt: skip
        self.made.append(container)
        container.start()
        return container

    def network(self, owner: Owner | str) -> Network:
        labels = {OWNER_LABEL: str(owner)}
        self.made.append(network := self.client.networks.create(self._name(), internal=True, labels=labels))
        return network

    def volume(self, owner: Owner | str) -> Volume:
        labels = {OWNER_LABEL: str(owner)}
        volume = self.client.volumes.create(self._name(), labels=labels)  # pyright: ignore[reportUnknownMemberType]
        self.made.append(volume)
        return volume

    def _name(self) -> str:
        return f"test-reaper-{secrets.token_hex(4)}"


@pytest.fixture
def make(client: DockerClient) -> Iterator[Maker]:
    maker = Maker(client, [])
    yield maker
    for thing in sorted(maker.made, key=lambda thing: not isinstance(thing, Container)):
        if is_there(thing):
            thing.remove(force=True) if isinstance(thing, Container) else thing.remove()  # pyright: ignore[reportUnknownMemberType]


def is_there(thing: Thing) -> bool:
    try:
        thing.reload()
    except NotFound:
        return False
    return True


def names(reaping: Reaping) -> set[str]:
    return {remnant.name for remnant in reaping.removed}


def test_all_that_the_dead_left_goes(client: DockerClient, make: Maker, dead: Owner) -> None:
    network = make.network(dead)
    things = (make.container(dead, network=str(network.name)), network, make.volume(dead))
    anonymous = things[0].attrs["Mounts"] or client.containers.get(str(things[0].id)).attrs["Mounts"]
    reaping = reap(client)
    assert not [thing for thing in things if is_there(thing)]
    assert names(reaping) >= {str(thing.name) for thing in things}
    assert anonymous
    with pytest.raises(NotFound):
        client.volumes.get(anonymous[0]["Name"])


def test_what_the_living_use_stays(client: DockerClient, make: Maker) -> None:
    network = make.network(this_process())
    things = (make.container(this_process(), network=str(network.name)), network, make.volume(this_process()))
    reaping = reap(client, all_hosts=True)
    assert all(is_there(thing) for thing in things)
    assert not {str(thing.name) for thing in things} & {remnant.name for remnant in reaping.left}


@pytest.mark.parametrize("elsewhere", [{"host": "another"}, {"namespace": 1}])
def test_what_is_made_elsewhere_stays_unless_asked_for(
    client: DockerClient, make: Maker, dead: Owner, elsewhere: dict[str, str | int]
) -> None:
    owner = replace(dead, **elsewhere)  # type: ignore[arg-type]
    container = make.container(owner)
    reaping = reap(client)
    assert is_there(container)
    assert container.name in {remnant.name for remnant in reaping.left}
    assert container.name in names(reap(client, all_hosts=True))
    assert not is_there(container)


@pytest.mark.parametrize("label", ["unbroken", "", "a label/of/somebody/1/2"])
def test_label_that_cannot_be_read_is_left_to_a_person(client: DockerClient, make: Maker, label: str) -> None:
    container = make.container(label)
    left = {remnant.name: remnant for remnant in reap(client, all_hosts=True).left}
    assert is_there(container)
    if label:
        assert left[str(container.name)].by_hand == f"docker rm --force --volumes {container.name}"
    else:
        assert container.name not in left


def test_container_that_a_person_made_from_ours_is_theirs(client: DockerClient, make: Maker, dead: Owner) -> None:
    ours = make.container(dead)
    image = ours.commit("test-reaper", secrets.token_hex(4))  # pyright: ignore[reportUnknownMemberType]
    theirs = client.containers.create(image.tags[0], ["sleep", "600"])
    try:
        assert ours.name in names(reap(client))
        assert is_there(theirs)
    finally:
        theirs.remove(force=True)
        client.images.remove(image.tags[0])  # pyright: ignore[reportUnknownMemberType]


def test_image_that_was_made_of_a_container_for_a_moment_goes_and_a_persons_stays(
    client: DockerClient, make: Maker, dead: Owner
) -> None:
    container = make.container(dead)
    labels = [f'LABEL "{label}"="{dead}"' for label in (OWNER_LABEL, SNAPSHOT_LABEL)]
    api: Any = client.api
    left, theirs = (str(api.commit(container.id, changes=changes)["Id"]) for changes in (labels, labels[:1]))
    named = str(api.commit(container.id, "test-reaper", secrets.token_hex(4), changes=labels)["Id"])
    try:
        reaping = reap(client)
        assert left.removeprefix("sha256:")[:12] in names(reaping)
        images = {image["Id"] for image in api.images(all=True)}
        assert images & {left, theirs, named} == {theirs, named}
    finally:
        for image in (theirs, named):
            api.remove_image(image, force=True)


def test_network_that_somebody_else_is_in_is_told(client: DockerClient, make: Maker, dead: Owner) -> None:
    network = make.network(dead)
    make.container(this_process(), network=str(network.name))
    failed = {remnant.name: reason for remnant, reason in reap(client).failed}
    assert "active endpoints" in failed[str(network.name)]


def test_several_may_reap_at_once(client: DockerClient, make: Maker, dead: Owner) -> None:
    containers = [make.container(dead) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(reap, [client] * 4))
    ours = {container.name for container in containers}
    assert [(remnant, why) for result in results for remnant, why in result.failed if remnant.name in ours] == []
    assert not [container for container in containers if is_there(container)]


def test_end_of_a_run_removes_what_nobody_was_told_of(client: DockerClient, make: Maker, dead: Owner) -> None:
    """An engine that breaks off may have made a container, and never told its id."""
    ours = make.container(this_process(), run="this")
    others = [make.container(this_process(), run="another"), make.container(replace(dead, host="there"), run="this")]
    assert remove_containers(client, "this") == []
    assert not is_there(ours)
    assert all(is_there(other) for other in others)


async def test_sandbox_names_its_owner(client: DockerClient) -> None:
    sandbox = await DockerSandbox.start(client, ContainerSettings(image=BASE_IMAGE, directory="/", run="a-run"))
    try:
        labels: dict[str, str] = client.containers.get(sandbox.container_id).attrs["Config"]["Labels"]
        assert Owner.parse(labels[OWNER_LABEL]) == this_process()
        assert labels[RUN_LABEL] == "a-run"
    finally:
        await sandbox.close()


def test_command_says_what_it_removed(make: Maker, dead: Owner, console: Console) -> None:
    container, unreadable = make.container(dead, run="a-run"), make.container("unbroken")
    done = console.run([EVALS, "clean"])
    assert done.code == 0, done.err
    assert f"removed container {container.name} of process {dead.process_id} on {dead.host}, run a-run\n" in done.out
    assert f"left alone: container {unreadable.name} " in done.out
    assert f"docker rm --force --volumes {unreadable.name}" in done.out
    assert console.run([EVALS, "clean"]).code == 0


def test_command_fails_when_something_stays(make: Maker, dead: Owner, console: Console) -> None:
    network = make.network(dead)
    make.container(this_process(), network=str(network.name))
    done = console.run([EVALS, "clean"])
    assert done.code == 1
    assert f"could not remove network {network.name}" in done.err


def test_start_of_a_run_reaps(
    make: Maker, dead: Owner, console: Console, demo_rows: dict[str, Row], tmp_path: Path
) -> None:
    container = make.container(dead)
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([demo_rows["tally"].model_dump(mode="json")]))
    done = console.run([EVALS, "swebench", "--dataset", str(rows), "--agent", "nop"])
    assert done.code == 0, done.err
    assert not is_there(container)
    assert "removed what dead runs had left: 1 container" in done.err
