"""The container in which an instance is put together: without a network, gone afterwards, kept only as an image.

Errors of the engine come out as :class:`PreparationError`.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evals.swebench.prepare_materials import ENVIRONMENT, REPOSITORY, PreparationError, owned_by_root
from runners.docker_engine import OWNER_LABEL
from runners.owner import this_process

WHEELS = "/tmp/wheels"  # noqa: S108 - inside the container, and removed before the image is made
INSTANCE_LABELS = {"unbroken.image": "instance"}


@contextmanager
def docker_client() -> Generator[Any]:
    """A connection to the engine that the environment names, and sentences for what it refuses."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=600)
    except DockerException as error:
        message = f"Docker does not answer ({error}): start the engine, or set DOCKER_HOST to where it listens."
        raise PreparationError(message) from error
    try:
        yield client
    except DockerException as error:
        message = f"Docker could not do its part: {error}"
        raise PreparationError(message) from error
    finally:
        client.close()


def require_base(client: Any, base: str) -> None:
    """See that the image to start from is on this machine; nothing is ever pulled."""
    if _image(client, base) is None:
        message = f"There is no base image {base}: build it with scripts/base_image, or name another with --base."
        raise PreparationError(message)


def image_to_replace(client: Any, name: str, *, force: bool) -> str | None:
    """The id of an earlier image of ours with this name; an image of anyone else is not overwritten unasked."""
    image = _image(client, name)
    if image is None:
        return None
    if image.labels.get("unbroken.image") == INSTANCE_LABELS["unbroken.image"]:
        return str(image.id)
    if not force:
        message = f"{name} exists and was not prepared here: keep it, or overwrite the name with --force."
        raise PreparationError(message)
    return None


def remove_image(client: Any, image_id: str) -> None:
    """Remove what a newer image replaced, unless a container still uses it."""
    from docker.errors import APIError

    try:
        client.images.remove(image_id)
    except APIError:  # it may stay: it has lost its name, and `docker image prune` finds it
        return


@contextmanager
def open_container(client: Any, base: str) -> Generator[PreparationContainer]:
    """A running container of the base image, removed in the end whatever happened."""
    labels = {OWNER_LABEL: str(this_process())}
    container = client.containers.create(base, ["sleep", "infinity"], network_mode="none", init=True, labels=labels)
    try:
        container.start()
        yield PreparationContainer(container)
    finally:
        container.remove(force=True)


class PreparationContainer:
    """Puts files into a container, runs scripts in it with the environment on PATH, and keeps it as an image."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def run(self, script: str, what: str, directory: str = REPOSITORY) -> str:
        """Run a bash script to its end or its first failing command, which is an error that names ``what``."""
        code, output = self._container.exec_run(["bash", "-ec", script], workdir=directory, environment=_SETTINGS)
        text = output.decode(errors="replace")
        if code:
            message = f"{what} failed in the image (exit {code}):\n{text.strip()[-2000:]}"
            raise PreparationError(message)
        return text

    def put_tar(self, archive: Path) -> None:
        """Unpack a tar at the root."""
        with archive.open("rb") as stream:
            self._container.put_archive("/", stream)

    def put_folder(self, folder: Path, inside: str) -> None:
        """Copy a folder of this machine to the absolute path ``inside``, owned by root."""
        with tempfile.TemporaryFile() as stream:
            with tarfile.open(fileobj=stream, mode="w") as archive:
                archive.add(folder, inside.lstrip("/"), filter=owned_by_root)
            stream.seek(0)
            self._container.put_archive("/", stream)

    def put_files(self, files: Mapping[str, str]) -> None:
        """Write texts to absolute paths."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for path, text in files.items():
                member = tarfile.TarInfo(path.lstrip("/"))
                member.size, member.mode = len(text.encode()), 0o755
                archive.addfile(member, io.BytesIO(text.encode()))
        self._container.put_archive("/", stream.getvalue())

    def keep_as(self, image: str, instance: str) -> None:
        """Make it an image under this name, labelled as an instance prepared here."""
        repository, separator, tag = image.rpartition(":")
        if not separator or "/" in tag:
            repository, tag = image, "latest"
        # The image is nobody's, or containers that people make from it would be taken for leftovers of ours.
        labels = INSTANCE_LABELS | {"unbroken.instance": instance, OWNER_LABEL: ""}
        changes = [f'LABEL "{name}"="{value}"' for name, value in labels.items()]
        changes += [f"WORKDIR {REPOSITORY}", 'CMD ["/bin/bash"]']
        self._container.commit(repository, tag, changes="\n".join(changes))


# Wheels come from the folder that was put in: a requirement that is missing there is told at once, not sought for.
_SETTINGS = {
    "PIP_NO_INDEX": "1",
    "PIP_FIND_LINKS": WHEELS,
    "PIP_NO_CACHE_DIR": "1",
    "PATH": f"{ENVIRONMENT}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}


def _image(client: Any, name: str) -> Any | None:
    from docker.errors import ImageNotFound

    try:
        return client.images.get(name)
    except ImageNotFound:
        return None
