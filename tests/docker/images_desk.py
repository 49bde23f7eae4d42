"""What tests of `evals images` share: a registry of the test's own, a dataset whose images lie in it, our commands."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from docker.errors import ImageNotFound
from real_things import VENV, Console, Done
from registry_server import Published, RegistryServer, serving, tar_layer

EVALS = str(VENV / "bin" / "evals")
ROW: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "swebench_rows.json").read_text("utf-8"))[0]
KILOBYTES = 100


def layer(kilobytes: int = KILOBYTES) -> bytes:
    """A layer like no other that does not compress."""
    return tar_layer(**{secrets.token_hex(4): secrets.token_bytes(kilobytes * 1024)})


@dataclass
class Desk:
    """A registry, a dataset whose images lie in it, and our commands."""

    console: Console
    client: DockerClient
    registry: RegistryServer
    folder: Path
    prefix: str = field(default_factory=lambda: f"t{secrets.token_hex(4)}")
    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def publish(self, name: str, *layers: bytes, repository: str = "acme/one") -> Published:
        """An image, and a row of the dataset that wants it."""
        image = self.registry.publish(f"{self.prefix}/{name}", layers or [layer()])
        self.want(image.name, repository)
        return image

    def want(self, image: str, repository: str = "acme/one") -> None:
        number = len(self.rows) + 1
        name = f"{repository.replace('/', '__')}-{number}"
        self.rows.append({**ROW, "instance_id": name, "repo": repository, "image": image})

    def images(self, command: str, *arguments: str | Path, only: str = "", **environment: str) -> Done:
        return self.console.run(self.command(command, *arguments, only=only), **environment)

    def command(self, command: str, *arguments: str | Path, only: str = "") -> list[str]:
        dataset = self.folder / "rows.json"
        dataset.write_text(json.dumps(self.rows), "utf-8")
        which = ["--dataset", str(dataset)] if command in ("status", "pull", "export") else []
        which += ["--instances", ",".join(f"*-{number}" for number in only.split(","))] if only else []
        return [EVALS, "images", command, *map(str, arguments), *which]

    def has(self, *images: Published) -> list[bool]:
        return [image_id(self.client, image.name) is not None for image in images]

    def remove(self, image: Published) -> None:
        remove(self.client, image.name)

    def record(self) -> dict[str, Any]:
        (file,) = (self.console.home / "data" / "unbroken" / "images").glob("*.json")
        return json.loads(file.read_text())["images"]


@pytest.fixture
def desk(console: Console, client: DockerClient, tmp_path: Path) -> Iterator[Desk]:
    with serving() as registry:
        made = Desk(console, client, registry, tmp_path)
        yield made
        api: Any = client.api
        images: list[dict[str, list[str] | None]] = api.images()
        kinds = ("RepoTags", "RepoDigests")  # first the tags: with the last of them, digests go
        names = [name for kind in kinds for image in images for name in image[kind] or []]
        for name in names:
            if name.startswith(f"{registry.host}/{made.prefix}") and image_id(client, name):
                remove(client, name)


@pytest.fixture
def as_user(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process have the record that the commands have."""
    monkeypatch.setenv("XDG_DATA_HOME", desk.console.environment["XDG_DATA_HOME"])


def image_id(client: DockerClient, name: str) -> str | None:
    try:
        return client.images.get(name).id
    except ImageNotFound:
        return None


def engine_info(client: DockerClient) -> dict[str, Any]:
    api: Any = client.api
    return api.info()


def remove(client: DockerClient, name: str) -> None:
    api: Any = client.api
    api.remove_image(name)


def size_of(*layers: bytes) -> int:
    """What the engine counts for layers of one file each."""
    return len(layers) * KILOBYTES * 1024
