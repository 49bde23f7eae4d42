"""The Docker engine: a connection to it, and its failures as sentences that say what to do."""

import asyncio
import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from tools.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import DockerClient

P = ParamSpec("P")
T = TypeVar("T")

OLDEST_API = "1.41"
RUN_LABEL = "unbroken.run"
TRIAL_LABEL = "unbroken.trial"
OWNER_LABEL = "unbroken.owner"
"""Its value is the text of a `runners.owner.Owner`."""


class EngineUnavailableError(Exception):
    """No Docker engine answers; the message says how to get one."""


class ImageUnavailableError(Exception):
    """An image is not here and cannot be pulled; the message says how to get it."""


def connect() -> "DockerClient":
    """Connect to the engine of `DOCKER_HOST`, or the local one. Raises EngineUnavailableError."""
    import docker
    from docker.errors import DockerException

    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    try:
        client = docker.from_env(version="auto", timeout=120, max_pool_size=64)
    except DockerException as error:
        raise EngineUnavailableError(_why_unavailable(address, error)) from error
    if _version(client.api.api_version) < _version(OLDEST_API):
        message = f"the Docker engine at {address} speaks API {client.api.api_version}; {OLDEST_API} or later is needed"
        raise EngineUnavailableError(message)
    return client


def engine_version(client: "DockerClient") -> str:
    """The engine's own version."""
    answer = cast("dict[str, str]", client.version())  # pyright: ignore[reportUnknownMemberType]
    return answer["Version"]


async def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a blocking function of the Docker SDK; what the engine refuses becomes a SandboxError."""
    with engine_errors():
        return await asyncio.to_thread(function, *args, **kwargs)


@contextmanager
def engine_errors() -> Generator[None]:
    """Turn failures of the engine, or of the way to it, into SandboxError."""
    import requests
    from docker.errors import DockerException

    try:
        yield
    except DockerException as error:
        explanation = getattr(error, "explanation", None) or str(error)
        message = f"the Docker engine refused: {explanation}"
        raise SandboxError(message) from error
    except (requests.RequestException, OSError) as error:
        message = f"the Docker engine does not answer: {error}"
        raise SandboxError(message) from error


def ensure_image(client: "DockerClient", name: str) -> str:
    """Make sure that the image is here, pulling it when it is not, and return its id (a digest).

    Raises ImageUnavailableError.
    """
    from docker.errors import DockerException, ImageNotFound

    try:
        image_id = client.images.get(name).id
    except ImageNotFound:
        try:
            image_id = client.images.pull(*_repository_and_tag(name)).id
        except DockerException as error:
            reason = getattr(error, "explanation", None) or str(error)
            message = (
                f"the image {name} is not on this machine and cannot be pulled: {str(reason).strip()}\n"
                "Load it with `docker load`, or build it under this name "
                "(for a SWE-bench instance: scripts/prepare_instance)."
            )
            raise ImageUnavailableError(message) from error
    assert image_id is not None
    return image_id


def _repository_and_tag(name: str) -> tuple[str, str | None]:
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        return name, "latest"
    return repository, tag


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _why_unavailable(address: str, error: Exception) -> str:
    path = address.removeprefix("unix://")
    if address.startswith("unix://") and not os.path.lexists(path):
        reason = f"there is no engine's socket at {path}"
    elif address.startswith("unix://") and not os.access(path, os.W_OK) and stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116
        return f"you may not use the Docker engine at {path}: add yourself to its group (docker), or use sudo"
    else:
        reason = str(error)
    return (
        f"no Docker engine answers at {address} ({reason}).\n"
        "Start Docker, or set DOCKER_HOST; on Debian or Ubuntu, as root, scripts/docker_engine installs and starts one."
    )
