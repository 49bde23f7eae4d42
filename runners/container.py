"""How a container is set up, what it may do and use, and how it comes and goes.

Its first process is our own (`container_init.sh`), which starts the first shell worker on the connection that was
attached before the start: an exec would cost a third of what the whole start does.
"""

import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from runners.command_environment import NON_INTERACTIVE
from runners.docker_channel import Streams, take_streams
from runners.docker_engine import OWNER_LABEL, RUN_LABEL, TRIAL_LABEL, engine_errors
from runners.gpus import device_requests
from runners.owner import this_process
from tools.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import APIClient

CAPABILITIES = (
    "CHOWN",  # packages give files to the users that they make
    "DAC_OVERRIDE",  # root reads and writes what belongs to those users
    "FOWNER",  # and sets their modes
    "FSETID",  # and keeps a set-group-id bit when it does: /var/mail, /var/local
    "KILL",  # root ends a server that runs as another user
    "SETGID",  # apt drops to _apt, su and servers to their users
    "SETUID",
    "SYS_CHROOT",  # sshd confines its own unprivileged part so
    "AUDIT_WRITE",  # su and sshd report a login, and some fail when they cannot
    "NET_BIND_SERVICE",  # a server under test listens on port 80
)
"""What root in a restricted container may do: enough to install packages and run tests.

Of Docker's own set these are missing: NET_RAW (forging packets, ping), MKNOD (devices), SETPCAP and SETFCAP (handing
capabilities on to files and programs).
"""
Rights = Literal["few", "usual", "mounting"]
"""What root may do in a container. `few`: no new privileges, CAPABILITIES, and nothing more. `usual`: what the engine
gives to any container, so that a task's own image works as its author saw it. `mounting`: what swebench gives its
containers, mounts included, and no limit on processes."""
OPEN_FILES = 65536
"""Where there is no limit, programs that close every descriptor that there could be take minutes for it."""


@dataclass(frozen=True)
class ContainerSettings:
    """How a container is set up. Nothing here names the task: what is visible inside tells the agent nothing."""

    image: str
    directory: str
    network: str = "none"
    """`none`, `bridge`, or the name of a network of the engine."""
    dns: tuple[str, ...] = ()
    """Its resolvers; the engine's own choice where there are none."""
    cpus: float | None = None
    memory: str | None = None
    """With a unit, as Docker takes it: `4g`. Swap is not given on top."""
    disk: str | None = None
    """What may be written on top of the image; a warning of the sandbox says where the engine cannot limit that."""
    shm: str | None = None
    """The size of /dev/shm; the engine's own choice (64m) unless given."""
    processes: int | None = 4096
    gpus: int = 0
    """How many of this machine's."""
    environment: Mapping[str, str] = field(default_factory=lambda: dict(NON_INTERACTIVE))
    profile: str = "~/.bashrc"
    """What the persistent shell sources at its start: SWE-bench's images activate their environment there."""
    run: str = ""
    trial: str = ""
    """The ids of the run and the trial, for the labels by which leftovers are found."""
    user: str = ""
    """Who runs commands; the image's own user unless given."""
    scratch: str = "/tmp/outputs"  # noqa: S108 - a folder of the container's own
    """Where the harness keeps files of its own."""
    rights: Rights = "few"
    volumes: tuple[str, ...] = ()
    """Folders that are mounts of their own, which go with the container: nobody inside can remove or move those."""

    entrypoint: tuple[str, ...] = ()
    """What is started beside our first process and may run as long as the container does, as an image's own would."""

    @property
    def prelude(self) -> str:
        """What every command starts with, in sh.

        The limit of open files is set here: an engine that has a lower one itself starts no container with another.
        """
        return f"ulimit -n {OPEN_FILES} 2>/dev/null\n" if self.rights != "mounting" else ""


@dataclass(frozen=True)
class RunningContainer:
    """A container that runs."""

    id: str
    warnings: tuple[str, ...] = ()
    """What the engine did not do as it was told."""


@dataclass(frozen=True)
class Container(RunningContainer):
    """One whose first process is ours."""

    _: KW_ONLY
    streams: Streams
    """The connection to its first shell worker."""
    end_mark: bytes
    """The line on stderr that says that this worker has ended."""


def start_container(api: "APIClient", settings: ContainerSettings, worker: str) -> Container:
    """Create a container and start it, with `worker` (sh) as its first shell worker. Raises SandboxError.

    Blocking.
    """
    with engine_errors():
        identity, warnings = _create(api, settings)
        container: Container | None = None
        try:
            container = greet(api, identity, worker, settings.entrypoint, warnings)
            _start(api, identity, settings.image)
        except BaseException:
            if container:
                container.streams.connection.close()
            remove_container(api, identity)
            raise
    return container


def greet(
    api: "APIClient", identity: str, worker: str, entrypoint: Sequence[str] = (), warnings: tuple[str, ...] = ()
) -> Container:
    """Tell a container that was made, and not started yet, what to run: `worker` (sh), and `entrypoint` beside it.

    Its first process is FIRST_PROCESS, and it has a stdin. Blocking.
    """
    attach = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
    streams = take_streams(api.attach_socket(identity, params=attach))  # pyright: ignore[reportUnknownMemberType]
    try:
        end_mark = secrets.token_hex(16)
        streams.connection.sendall(_greeting(worker, entrypoint, end_mark))
    except BaseException:
        streams.connection.close()
        raise
    return Container(identity, warnings, streams=streams, end_mark=end_mark.encode())


def remove_container(api: "APIClient", container: str) -> None:
    """Remove a container with whatever runs in it; one that is gone, or going, is fine. Blocking."""
    from docker.errors import APIError, NotFound

    try:
        api.remove_container(container, force=True, v=True)  # pyright: ignore[reportUnknownMemberType]
    except NotFound:
        return
    except APIError as error:
        if error.status_code != 409:  # somebody is removing it already
            raise


# Its text comes over stdin: on the command line, every `ps` would show it. It reads it as a whole where it can; a
# shell that reads lines does so byte by byte.
FIRST_PROCESS = ["/bin/sh", "-c", 'IFS= read -r text; eval "$text"']
_LAST_LINE = "# end"
_READ_TEXT = (
    'end=$(printf "\\n."); end=${{end%.}}; text=$(head -c {size} 2>/dev/null) || '
    'while IFS= read -r line; do text="$text$line$end"; [ "$line" = "{last}" ] && break; done; eval "$text"\n'
)


def _greeting(worker: str, entrypoint: Sequence[str], end_mark: str) -> bytes:
    init = resources.files("runners").joinpath("container_init.sh").read_text("utf-8")
    variables = f"mark={end_mark}\nentrypoint={shlex.quote(shlex.join(entrypoint))}\n"
    text = f"worker() {{\n{worker}\n}}\n{variables}{init}\n{_LAST_LINE}\n".encode()
    return _READ_TEXT.format(size=len(text), last=_LAST_LINE).encode() + text


def _create(api: "APIClient", settings: ContainerSettings) -> tuple[str, tuple[str, ...]]:
    from docker.errors import APIError

    try:
        return _create_with(api, settings, settings.disk)
    except APIError as error:
        if settings.disk is None or "storage-opt" not in _explanation(error):
            raise
        container, warnings = _create_with(api, settings, None)
        warning = f"the disk is not limited to {settings.disk}, since the Docker engine cannot do so: "
        return container, (warning + _explanation(error), *warnings)


def _create_with(api: Any, settings: ContainerSettings, disk: str | None) -> tuple[str, tuple[str, ...]]:
    created: dict[str, Any] = api.create_container(
        settings.image,
        entrypoint=FIRST_PROCESS,
        command=[],
        stdin_open=True,
        name=f"sandbox-{secrets.token_hex(6)}",
        hostname="sandbox",
        working_dir=settings.directory,
        user=settings.user or None,
        environment=dict(settings.environment),
        volumes=list(settings.volumes),
        labels={RUN_LABEL: settings.run, TRIAL_LABEL: settings.trial, OWNER_LABEL: str(this_process())},
        # The first process hears no other; without this, an engine that is being stopped would wait for it.
        stop_signal="SIGKILL",
        # The client's own settings hold proxies, with passwords at times.
        use_config_proxy=False,
        host_config=api.create_host_config(**_host_settings(settings, disk)),
    )
    return created["Id"], tuple(created.get("Warnings") or ())


def _host_settings(settings: ContainerSettings, disk: str | None) -> dict[str, Any]:
    host: dict[str, Any] = {
        "network_mode": settings.network,
        # What agents print must never fill a log on the host.
        "log_config": {"type": "none"},
        "init": False,
    }
    if settings.gpus:
        host["device_requests"] = device_requests(settings.gpus)
    if settings.dns:
        host["dns"] = list(settings.dns)
    if settings.cpus is not None:
        host["nano_cpus"] = int(settings.cpus * 1e9)
    if settings.memory is not None:
        host |= {"mem_limit": settings.memory, "memswap_limit": settings.memory}
    if settings.shm is not None:
        host["shm_size"] = settings.shm
    if disk is not None:
        host["storage_opt"] = {"size": disk}
    match settings.rights:
        case "few":
            host |= {"cap_drop": ["ALL"], "cap_add": list(CAPABILITIES), "security_opt": ["no-new-privileges"]}
        case "mounting":
            return host | {"cap_add": ["SYS_ADMIN"]}
        case "usual":
            pass
    return host | {"pids_limit": settings.processes}


def _start(api: Any, container: str, image: str) -> None:
    from docker.errors import APIError

    try:
        api.start(container)
    except APIError as error:
        reason = _explanation(error)
        if "/bin/sh" in reason and "no such file or directory" in reason:
            message = f"the image {image} has no /bin/sh, and nothing can be run in a sandbox without one"
            raise SandboxError(message) from error
        raise


def _explanation(error: Any) -> str:
    return str(error.explanation or error).strip()
