"""The Docker engine: a connection to it, and its failures as sentences that say what to do."""

import asyncio
import os
import stat
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from tools.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import DockerClient

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")

OLDEST_API = "1.41"
RUN_LABEL = "unbroken.run"
TRIAL_LABEL = "unbroken.trial"
OWNER_LABEL = "unbroken.owner"
SNAPSHOT_LABEL = "unbroken.snapshot"
"""On an image that we made of a container for a moment. What a person makes of one has the other labels as well."""
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
    """Call a blocking function of the Docker SDK; what the engine refuses becomes a SandboxError.

    When this is cancelled, the call goes on all the same, and nobody hears of its result: see `obtain`.
    """
    with engine_errors():
        return await _start_thread(lambda: function(*args, **kwargs))


async def obtain(function: Callable[[], T], give_back: Callable[[T], object]) -> T:
    """Call a blocking function whose result must be given back by somebody. Raises SandboxError.

    When this is cancelled, however often, the thread itself gives it back.
    """
    call = _Obtaining(function, give_back)
    with engine_errors():
        done = _start_thread(call)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            given_back = call.abandon()
            with suppress(Exception):  # whatever it is: nobody wants the result any more
                await asyncio.shield(done)
                if given_back:
                    await asyncio.shield(given_back)
            raise


@contextmanager
def engine_errors() -> Generator[None]:
    """Turn failures of the engine, or of the way to it, into SandboxError."""
    import requests
    import urllib3
    from docker.errors import DockerException

    try:
        yield
    except DockerException as error:
        explanation = getattr(error, "explanation", None) or str(error)
        message = f"the Docker engine refused: {explanation}"
        raise SandboxError(message) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        message = f"the Docker engine does not answer: {error}"
        raise SandboxError(message) from error


def image_variables(client: "DockerClient", image: str) -> tuple[str, ...]:
    """What an image sets in its containers, each `NAME=value`. Blocking. Raises what the engine's client does."""
    api: Any = client.api
    return tuple(api.inspect_image(image)["Config"].get("Env") or ())


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
                "Get the images of tasks with `evals images pull`, load it with `docker load`, or build it under this "
                "name (for a SWE-bench instance: scripts/prepare_instance)."
            )
            raise ImageUnavailableError(message) from error
    assert image_id is not None
    return image_id


def _start_thread(function: Callable[[], T]) -> "asyncio.Future[T]":
    """Call a function in a thread of its own: calls to an engine are many and long, and those of a pool few."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def call() -> None:
        try:
            value = function()
        except BaseException as error:  # whatever it is, the caller is told
            tell(answer.set_exception, error)
        else:
            tell(answer.set_result, value)

    def tell(setter: Callable[[V], None], value: V) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(lambda: None if answer.done() else setter(value))

    threading.Thread(target=call, name=getattr(function, "__name__", "engine")).start()
    return answer


class _Obtaining(Generic[T]):
    """A call whose result belongs to the caller, until the caller has gone."""

    def __init__(self, function: Callable[[], T], give_back: Callable[[T], object]) -> None:
        self._function = function
        self._give_back = give_back
        self._lock = threading.Lock()
        self._abandoned = False
        self._results: list[T] = []

    def __call__(self) -> T:
        result = self._function()
        with self._lock:
            if not self._abandoned:
                self._results.append(result)
                return result
        self._give_back(result)
        return result

    def abandon(self) -> "asyncio.Future[object] | None":
        """Have the result given back by the thread; or now, where the thread has ended."""
        with self._lock:
            self._abandoned = True
        return _start_thread(lambda: self._give_back(self._results[0])) if self._results else None


def _repository_and_tag(name: str) -> tuple[str, str | None]:
    if "@" in name:
        repository, _, digest = name.partition("@")
        return repository, digest
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
