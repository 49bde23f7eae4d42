"""A sandbox that is a Docker container, with one channel for the agent's shell and one for the harness."""

import asyncio
import contextlib
import errno
import io
import os
import secrets
import shlex
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from runners.command_environment import NON_INTERACTIVE
from runners.docker_channel import ExecChannel, open_exec
from runners.docker_engine import OWNER_LABEL, RUN_LABEL, in_thread
from runners.shell import STDERR, PersistentShell, worker_command, worker_environment
from tools.output import BoundedOutput
from tools.sandbox import OUTPUT_LIMIT, CommandResult, OutputListener, SandboxError

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

_STATE = "/dev/shm/shell"  # noqa: S108 - in memory: a file that is rewritten at each command costs a disk 4 ms
# Deaf to signals, and without a word that an agent would look for when it ends processes of its own (`pkill -f sleep`).
_WAIT_FOR_EVER = ["/bin/sh", "-c", "trap '' HUP INT QUIT TERM; exec tail -f /dev/null"]
_SERVICE_DEADLINE = 60.0


@dataclass(frozen=True)
class ContainerSettings:
    """How a container is set up. Nothing here names the task: what is visible inside tells the agent nothing."""

    image: str
    directory: str
    network: str = "none"
    cpus: float | None = None
    memory: str | None = None
    """With a unit, as Docker takes it: `4g`."""
    processes: int | None = 4096
    environment: Mapping[str, str] = field(default_factory=lambda: dict(NON_INTERACTIVE))
    profile: str = "~/.bashrc"
    """What the persistent shell sources at its start: SWE-bench's images activate their environment there."""
    run: str = ""
    """The id of the run, for the label by which leftovers are found."""
    user: str = ""
    """Who runs commands; the image's own user unless given."""
    scratch: str = "/tmp/outputs"  # noqa: S108 - a folder of the container's own
    """Where the harness keeps files of its own."""
    restricted: bool = True
    """No new privileges, and a limit on processes. Without: what swebench gives its containers, mounts included."""


class DockerSandbox:
    """Runs commands in a container of its own. Fulfils `tools.sandbox.Sandbox`."""

    def __init__(self, client: "DockerClient", container: "Container", settings: ContainerSettings) -> None:
        self._client = client
        self._container = container
        self._settings = settings
        self._shell = PersistentShell(self._open_shell, self._kill_tree)
        self._service: ExecChannel | None = None
        self._service_lock = asyncio.Lock()

    @classmethod
    async def start(cls, client: "DockerClient", settings: ContainerSettings) -> "DockerSandbox":
        """Create and start a container. Raises SandboxError."""
        creation = asyncio.create_task(in_thread(_create, client, settings))
        try:
            container = await asyncio.shield(creation)
        except asyncio.CancelledError:
            # A thread cannot be cancelled: without this the container would come up with nobody to remove it.
            with contextlib.suppress(SandboxError):
                await in_thread(_remove, await creation)
            raise
        return cls(client, container, settings)

    @property
    def container_id(self) -> str:
        """The engine's id of the container."""
        return self._container.id or ""

    @property
    def working_directory(self) -> str:
        """Where commands start."""
        return self._settings.directory

    @property
    def scratch_directory(self) -> str:
        """A folder for outputs that were too long to show."""
        return self._settings.scratch

    async def shell(self, command: str, *, timeout: float, on_output: OutputListener | None = None) -> CommandResult:
        """Run in the persistent shell."""
        return await self._shell.run(command, timeout, on_output)

    async def exec(
        self,
        command: str,
        *,
        timeout: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> CommandResult:
        """Run in a bash of its own; the exit status is the engine's."""
        started = time.monotonic()
        channel = await self._open(
            # The wrapper tells its process id, by which a command that runs too long is found inside.
            ["bash", "-c", 'echo "$$" >&2; exec bash -c "$1" bash 2>&1', "bash", command],
            environment=environment,
            user=user,
        )
        answer = _ExecAnswer()
        timed_out = False
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(_feed(channel, stdin), answer.read(channel))
        except TimeoutError:
            timed_out = True
            if answer.process_id:
                await self._kill_tree(answer.process_id)
        finally:
            await channel.close()
        return answer.result(
            None if timed_out else await self._exit_code(channel), timed_out, time.monotonic() - started
        )

    async def read_bytes(self, path: str, *, limit: int | None = None) -> bytes:
        """Read a file through the service channel."""
        status, data = await self._serve(f"read_file {_quoted(path)} {-1 if limit is None else limit}", reply=True)
        _raise_for(status, path)
        return data

    async def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file through the service channel."""
        status, _ = await self._serve(f"write_file {_quoted(path)} {len(data)}", data)
        _raise_for(status, path)

    async def upload(self, source: Path, target: str) -> None:
        """Copy with the engine's archive call."""
        path = PurePosixPath(target)
        await self.exec(f"mkdir -p -- {shlex.quote(str(path.parent))}", timeout=_SERVICE_DEADLINE)
        await in_thread(_put, self._container, str(path.parent), source, path.name)

    async def download(self, source: str, target: Path) -> None:
        """Copy with the engine's archive call."""
        from docker.errors import NotFound

        try:
            pieces, _ = await asyncio.to_thread(self._container.get_archive, source)
        except NotFound as error:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source) from error
        await asyncio.to_thread(_unpack, b"".join(pieces), target)

    async def close(self) -> None:
        """Remove the container with whatever runs in it; kills, never waits for a process to agree."""
        await self._shell.close()
        if self._service:
            await self._service.close()
        await in_thread(_remove, self._container)

    async def _open(
        self, command: Sequence[str], *, environment: Mapping[str, str] | None = None, user: str | None = None
    ) -> ExecChannel:
        return await open_exec(
            self._client.api,
            self.container_id,
            command,
            environment=environment,
            directory=self._settings.directory,
            user=user or self._settings.user,
        )

    async def _open_shell(self) -> ExecChannel:
        async with self._service_lock:  # while a process can be had: it ends those that took all there were
            if self._service is None:
                self._service = await self._open_service()
        worker = worker_command(_STATE, self._settings.directory, "")
        # `~` is the container's user's, and only a shell in there knows who that is.
        start = (
            f"mkdir -p -m 700 {_STATE} {self._settings.scratch}; "
            f'exec {shlex.join(worker[:-1])} "$(eval echo {self._settings.profile})"'
        )
        return await self._open(["/bin/sh", "-c", start], environment=worker_environment())

    async def _kill_tree(self, process_id: int) -> None:
        await self._serve(f"kill_tree {process_id}")

    async def _exit_code(self, channel: ExecChannel) -> int:
        for _ in range(100):
            state: dict[str, int | None] = await in_thread(self._client.api.exec_inspect, channel.exec_id)
            if (code := state["ExitCode"]) is not None:
                return code
            await asyncio.sleep(0.01)
        raise SandboxError("the engine does not say how a command ended")

    async def _serve(self, request: str, data: bytes = b"", *, reply: bool = False) -> tuple[str, bytes]:
        """Send one request to the service shell, and return the words and the bytes of its answer."""
        async with self._service_lock:
            try:
                async with asyncio.timeout(_SERVICE_DEADLINE):
                    if self._service is None:
                        self._service = await self._open_service()
                    await self._service.send(request.encode() + b"\n" + data)
                    return await _read_answer(self._service, reply)
            except (TimeoutError, ConnectionError) as error:
                await self._drop_service()
                message = f"the container no longer answers ({self.container_id[:12]})"
                raise SandboxError(message) from error
            except BaseException:
                await self._drop_service()
                raise

    async def _open_service(self) -> ExecChannel:
        script = resources.files("runners").joinpath("service_worker.sh").read_text("utf-8")
        return await self._open(["/bin/sh", "-c", 'eval "$SERVICE_WORKER"'], environment={"SERVICE_WORKER": script})

    async def _drop_service(self) -> None:
        service, self._service = self._service, None
        if service:
            await service.close()


@dataclass
class _ExecAnswer:
    """The output of an exec, and the process id that its wrapper told first, on stderr."""

    output: BoundedOutput = field(default_factory=lambda: BoundedOutput(OUTPUT_LIMIT))
    control: bytes = b""

    async def read(self, channel: ExecChannel) -> None:
        while True:
            stream, data = await channel.receive()
            if not data:
                return
            if stream == STDERR:
                self.control += data
            else:
                self.output.add(data)

    @property
    def process_id(self) -> int | None:
        line, end, _ = self.control.partition(b"\n")
        return int(line) if end else None

    def result(self, exit_code: int | None, timed_out: bool, duration: float) -> CommandResult:
        data, head_length = self.output.finish()
        return CommandResult(
            output=data,
            exit_code=exit_code,
            duration=duration,
            timed_out=timed_out,
            dropped=self.output.dropped,
            head_length=head_length,
        )


async def _feed(channel: ExecChannel, data: bytes) -> None:
    try:
        await channel.send(data)
        channel.end_of_input()
    except ConnectionError:
        return  # the command did not want all of it


async def _read_answer(channel: ExecChannel, reply: bool) -> tuple[str, bytes]:
    received = b""
    while b"\n" not in received:
        received += await _next_piece(channel)
    line, _, received = received.partition(b"\n")
    status, _, size = line.decode().partition(" ") if line.startswith(b"ok") else (line.decode(), "", "")
    pieces = [received]
    missing = (int(size) if reply and size else 0) - len(received)
    while missing > 0:
        pieces.append(await _next_piece(channel))
        missing -= len(pieces[-1])
    return status, b"".join(pieces)


async def _next_piece(channel: ExecChannel) -> bytes:
    while True:
        stream, data = await channel.receive()
        if not data:
            raise ConnectionError("the service shell has ended")
        if stream != STDERR:
            return data


_ERROR_NUMBERS = {
    "missing": errno.ENOENT,
    "directory": errno.EISDIR,
    "not a directory": errno.ENOTDIR,
    "denied": errno.EACCES,
    "full": errno.ENOSPC,
}


def _raise_for(status: str, path: str) -> None:
    if status != "ok":
        number = _ERROR_NUMBERS.get(status, errno.EIO)
        raise OSError(number, os.strerror(number), path)


def _quoted(path: str) -> str:
    if "\n" in path or "\0" in path:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    return shlex.quote(path)


def _create(client: "DockerClient", settings: ContainerSettings) -> "Container":
    limits: dict[str, object] = {}
    if settings.cpus is not None:
        limits["nano_cpus"] = int(settings.cpus * 1e9)
    if settings.memory is not None:
        limits["mem_limit"] = settings.memory
    if settings.restricted:
        limits |= {"pids_limit": settings.processes, "security_opt": ["no-new-privileges"]}
    else:
        limits["cap_add"] = ["SYS_ADMIN"]
    # `create`, since `run` would go and pull an image that is not here.
    container = client.containers.create(
        settings.image,
        entrypoint=_WAIT_FOR_EVER,
        command=[],
        init=True,
        name=f"sandbox-{secrets.token_hex(6)}",
        hostname="sandbox",
        network_mode=settings.network,
        working_dir=settings.directory,
        user=settings.user or None,
        environment=dict(settings.environment),
        labels={RUN_LABEL: settings.run, OWNER_LABEL: "unbroken"},
        **limits,  # type: ignore[arg-type]
    )
    try:
        container.start()
    except BaseException:
        _remove(container)
        raise
    return container


def _remove(container: "Container") -> None:
    from docker.errors import APIError, NotFound

    try:
        container.remove(force=True, v=True)
    except NotFound:
        return
    except APIError as error:
        if error.status_code != 409:  # somebody is removing it already
            raise


def _put(container: "Container", folder: str, source: Path, name: str) -> None:
    # On disk, since a repository may be larger than what we want in memory.
    with tempfile.TemporaryFile() as archive:
        with tarfile.open(fileobj=archive, mode="w") as members:
            members.add(source, arcname=name, filter=_owned_by_root)
        archive.seek(0)
        container.put_archive(folder, archive)  # pyright: ignore[reportUnknownMemberType]


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _unpack(archive: bytes, target: Path) -> None:
    """Unpack an archive whose single top entry becomes `target`."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        top = members.getnames()[0]
        target.parent.mkdir(parents=True, exist_ok=True)
        for member in members:
            member.name = target.name + member.name.removeprefix(top)
            members.extract(member, target.parent, filter="data")
