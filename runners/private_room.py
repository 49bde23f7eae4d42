"""A place inside a running container that nothing in that container reaches: for tests, and for what they say.

Whoever is root in a container can watch and change every file in it. A private room is a process with a mount
namespace of its own, in which some folders are memory that the others do not see. It is opened before an agent begins,
by a second container of the same image that enters the first one's namespaces; it makes its mounts and gives up every
right that the first container does not have, so that no program of the agent's ever runs with more.

What keeps the agent's processes out, root or not:

* A mount is gone when somebody removes or moves the folder below it, in whatever namespace. So the folders are volumes
  of the first container: mounts there as well, which nobody inside may remove or move.
* `/proc/PID/root`, `/proc/PID/fd` and ptrace need every right that the process PID has, or CAP_SYS_PTRACE
  (`ptrace(2)`). The room keeps one right that no other process has, and that is good for nothing: CAP_WAKE_ALARM.

Root can still end it, and can change the programs and libraries that tests use. What runs in the room and becomes
another user has lost that right at its next program: who can become the same user may follow it in, unless a security
module (AppArmor) forbids that.
"""

import asyncio
import secrets
import shlex
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from runners.container import ContainerSettings, remove_container
from runners.docker_channel import ContainerChannel, Streams, connect_to, take_streams
from runners.docker_engine import OWNER_LABEL, RUN_LABEL, TRIAL_LABEL, engine_errors, in_thread, obtain
from runners.gpus import device_requests
from runners.owner import this_process
from runners.shell import STDERR

if TYPE_CHECKING:
    from docker import APIClient

_ENTERING = ("SYS_ADMIN", "SYS_PTRACE")
_OWN = "WAKE_ALARM"
_OPENING = 30.0
_REASON_LIMIT = 2000
_WORDS_LIMIT = 4 * 1024 * 1024
_READY = b"ready\n"
_LAST_LINE = "# end"


class NoRoomError(Exception):
    """No private room can be had in this container; the message says why."""


class PrivateRoom:
    """A room that waits for what it has to do, which it does once."""

    def __init__(self, api: "APIClient", container: str, channel: ContainerChannel) -> None:
        self._api = api
        self._container = container
        self._channel = channel
        self.first_words = b""
        """What its setup printed on stderr."""

    @classmethod
    async def open(
        cls,
        api: "APIClient",
        settings: ContainerSettings,
        beside: str,
        setup: str,
        environment: Mapping[str, str],
    ) -> "PrivateRoom":
        """Open a room in the container `beside`, which was made with `settings`, before anybody works in there.

        `setup` is what mounts, in sh; `environment` what is set in the room, beside what the image sets. Raises
        NoRoomError where the image lacks what it takes (`nsenter`, `unshare` and `setpriv` of util-linux), and
        SandboxError.
        """
        container, streams = await obtain(
            lambda: _start(api, settings, beside, setup, environment), lambda room: _discard(api, room)
        )
        try:
            room = cls(api, container, await connect_to(ContainerChannel(), streams))
            await room._wait_until_ready()
        except BaseException:
            await asyncio.shield(in_thread(remove_container, api, container))
            raise
        return room

    async def is_open(self) -> bool:
        """Whether it is still there: whoever is root in the container can end it."""
        api: Any = self._api
        inspected = await in_thread(api.inspect_container, self._container)
        return bool(inspected["State"]["Running"])

    async def run(self, script: str) -> None:
        """Let it begin to run `script`. Raises ConnectionError when it is gone."""
        await self._channel.send(f"{script}\n{_LAST_LINE}\n".encode())

    async def receive(self) -> tuple[int, bytes]:
        """The next piece of stdout or stderr; an empty piece at the end."""
        return await self._channel.receive()

    async def send(self, data: bytes) -> None:
        """Write to the script's stdin. Raises ConnectionError when it is gone."""
        await self._channel.send(data)

    async def close(self) -> None:
        """End it with all that it has started. Raises SandboxError."""
        removal = asyncio.ensure_future(in_thread(remove_container, self._api, self._container))
        try:
            await self._channel.close()
        finally:
            await removal

    async def _wait_until_ready(self) -> None:
        said = b""
        try:
            async with asyncio.timeout(_OPENING):
                while not said.endswith(_READY):
                    stream, piece = await self._channel.receive()
                    if not piece:
                        raise NoRoomError(_reason(said))
                    if stream == STDERR:
                        said = (said + piece)[-_WORDS_LIMIT:]
            self.first_words = said.removesuffix(_READY)
        except TimeoutError as error:
            message = f"it did not open within {_OPENING:g} seconds: {_reason(said)}"
            raise NoRoomError(message) from error


def _reason(said: bytes) -> str:
    return said[-_REASON_LIMIT:].decode(errors="replace").strip() or "it ended without a word"


# What follows nsenter runs in the other container's namespaces, where everything is still as its image has it.
_ENTER = 'exec nsenter -t 1 -m -u -i -n -- unshare --mount -- /bin/sh -c "$1"'


def _start(
    api: Any, settings: ContainerSettings, beside: str, setup: str, environment: Mapping[str, str]
) -> tuple[str, Streams]:
    host: dict[str, Any] = {
        "network_mode": f"container:{beside}",
        "pid_mode": f"container:{beside}",
        "cap_add": [*_ENTERING, _OWN],
        # AppArmor's profile for containers forbids every mount.
        "security_opt": ["apparmor=unconfined"],
        "log_config": {"type": "none"},
        "pids_limit": settings.processes,
    }
    if settings.gpus:  # their nodes are the other container's, and each container has to be let use them
        host["device_requests"] = device_requests(settings.gpus)
    if settings.cpus is not None:
        host["nano_cpus"] = int(settings.cpus * 1e9)
    if settings.memory is not None:
        host |= {"mem_limit": settings.memory, "memswap_limit": settings.memory}
    inside = resources.files("runners").joinpath("private_room.sh").read_text("utf-8")
    with engine_errors():
        created: dict[str, Any] = api.create_container(
            settings.image,
            entrypoint=["/bin/sh", "-c", _ENTER, "sh"],
            command=[f"setup={shlex.quote(setup)}\n{inside}"],
            stdin_open=True,
            name=f"sandbox-{secrets.token_hex(6)}",
            user="0",
            environment=dict(environment),
            labels={RUN_LABEL: settings.run, TRIAL_LABEL: settings.trial, OWNER_LABEL: str(this_process())},
            stop_signal="SIGKILL",
            use_config_proxy=False,
            host_config=api.create_host_config(**host),
        )
        container = str(created["Id"])
        try:
            attach = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            streams = take_streams(api.attach_socket(container, params=attach))
            api.start(container)
        except BaseException:
            remove_container(api, container)
            raise
    return container, streams


def _discard(api: "APIClient", room: tuple[str, Streams]) -> None:
    container, streams = room
    streams.connection.close()
    remove_container(api, container)
