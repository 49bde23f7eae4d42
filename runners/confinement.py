"""Confinement of commands on this machine, by bubblewrap (`bwrap`): they can write to few folders alone.

What confined programs see: every file of this machine that the user may read, read-only; but the folders that are
`writable`. `/tmp` and `/var/tmp` are one empty folder of theirs, which goes with the sandbox; `/dev` and `/dev/shm`
are their own; `/run` is empty, since a socket in it (Docker's, systemd's) would be a way out, whatever may be written.
They see no process but their own, gain no privileges, and have no capabilities, even for root. The network is this
machine's, services that listen on it included, unless it is taken away.

What it does not do: hide files that the user can read; keep a program from writing what somebody runs later, outside
of the confinement (a hook in `.git`, a Makefile); limit memory or processors.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runners.supervisor import Supervisor, SupervisorLostError, supervisor_command
from tools.sandbox import SandboxError

INSTALL = "install bubblewrap (Debian, Ubuntu: apt-get install bubblewrap; Fedora: dnf install bubblewrap)"
_HIDDEN = ("/tmp", "/var/tmp", "/run")  # noqa: S108
_OF_RUN = ("/run/systemd/resolve", "/run/current-system", "/run/opengl-driver")
"""What programs need of /run: the addresses of name servers, and on NixOS the programs themselves."""
_OF_PROC = ("sys", "irq", "bus", "fs", "sysrq-trigger", "pressure")
"""What root could write in /proc without any capability, such as the program that is to be run at each core dump."""
_SOCKETS = ("~/.docker/run", "~/.docker/desktop", "~/.colima", "~/.orbstack/run", "~/.rd")
"""Where sockets of engines lie that would run anything for anybody."""
_POINTING_OUT = ("SSH_AUTH_SOCK", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "DISPLAY", "WAYLAND_DISPLAY")
_TRIAL_DEADLINE = 20.0
_COMPLAINT = 8192


class ConfinementError(SandboxError):
    """Commands cannot be confined here; the message says why, and what to do."""


@dataclass(frozen=True)
class Confinement:
    """What confined commands can do."""

    writable: tuple[Path, ...]
    """Folders that can be written to: the repository."""
    network: bool = True
    """Whether they have this machine's network."""

    def command(self, command: Sequence[str], temporary: Path, own: Sequence[Path]) -> list[str]:
        """The command line that runs `command` confined.

        `temporary` is its /tmp; the sandbox's `own` folders can be written to as well, at their own paths.
        Raises ConfinementError when that would confine nothing.
        """
        writable = [folder.resolve() for folder in self.writable]
        if Path("/") in writable:
            raise ConfinementError("commands cannot be confined to the whole file system: give a folder in it")
        arguments = [*_base(network=self.network)]
        for folder in _HIDDEN:
            if folder == "/run":
                arguments += ["--tmpfs", folder]
            elif Path(folder).is_dir() and not Path(folder).is_symlink():
                arguments += ["--bind", str(temporary), folder]
        for folder in (*_OF_RUN, *_own_code()):
            if _is_below(folder, _HIDDEN):
                arguments += ["--ro-bind-try", folder, folder]
        for folder in _socket_folders():
            arguments += ["--tmpfs", folder]
        if socket := _engine_socket():
            arguments += ["--ro-bind", "/dev/null", socket]
        for folder in (*own, *writable):
            arguments += ["--bind", str(folder), str(folder)]
        return [*arguments, "--", *command]

    async def start_supervisor(
        self, outer: Supervisor, environment: Mapping[str, str], directory: str, temporary: Path, own: Sequence[Path]
    ) -> Supervisor:
        """Start a confined supervisor in `directory`, below the one that cleans up outside of the confinement.

        As the first process of its namespace: nothing in there can kill it, and all in there ends with it. Raises
        ConfinementError with what bubblewrap complained of.
        """
        ours, theirs = socket.socketpair()
        nothing = os.open(os.devnull, os.O_RDWR)
        with tempfile.TemporaryFile() as complaint:
            descriptors = [nothing, nothing, complaint.fileno(), theirs.fileno()]
            try:
                command = self.command(supervisor_command(len(descriptors) - 1, ()), temporary, own)
                program = await outer.start_program(command, environment, directory, descriptors)
            except BaseException:
                ours.close()
                raise
            finally:
                theirs.close()
                os.close(nothing)
            supervisor = Supervisor(ours)
            try:
                await supervisor.make_folders("/")  # which is there: whether it answers is what we want to know
            except SupervisorLostError as error:
                await outer.end(program.process_id)
                raise _refusal(os.pread(complaint.fileno(), _COMPLAINT, 0)) from error
            return supervisor


def check_confinement() -> None:
    """Raise ConfinementError where commands cannot be confined."""
    program = shutil.which("bwrap")
    if program is None:
        reason = "bubblewrap (bwrap) is not installed" if sys.platform == "linux" else "that needs Linux and bubblewrap"
        message = f"commands cannot be confined: {reason}; {INSTALL}, or work without --confine"
        raise ConfinementError(message)
    try:
        tried = subprocess.run(
            [*_base(network=True), "--", "true"], capture_output=True, timeout=_TRIAL_DEADLINE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"commands cannot be confined: {program} cannot be run: {error}"
        raise ConfinementError(message) from error
    if tried.returncode != 0:
        raise _refusal(tried.stderr)


def confined_environment(environment: dict[str, str]) -> dict[str, str]:
    """The environment of confined commands: caches where they can be written, and nothing that points outside."""
    kept = {name: value for name, value in environment.items() if name not in _POINTING_OUT}
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), "/tmp")  # noqa: S108
    return {**kept, **places, "XDG_CACHE_HOME": "/tmp/.cache", "npm_config_cache": "/tmp/.cache/npm"}  # noqa: S108


def _refusal(complaint: bytes) -> ConfinementError:
    reason = complaint.decode(errors="replace").strip() or "it does not say why"
    return ConfinementError(
        f"commands cannot be confined: bubblewrap is not permitted to do so here: {reason}\n"
        "It needs user namespaces: in a container, allow them (Docker: --security-opt seccomp=unconfined "
        "--security-opt systempaths=unconfined); on Ubuntu, sysctl kernel.apparmor_restrict_unprivileged_userns=0. "
        "Or work without --confine."
    )


def _base(*, network: bool) -> list[str]:
    arguments = ["bwrap", "--die-with-parent", "--as-pid-1", "--unshare-user-try", "--unshare-pid", "--unshare-ipc"]
    arguments += ["--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    for name in _OF_PROC:
        arguments += ["--ro-bind-try", f"/proc/{name}", f"/proc/{name}"]
    return arguments if network else [*arguments, "--unshare-net"]


def _own_code() -> set[str]:
    """Folders without which the supervisor cannot run, wherever they lie."""
    code = Path(__file__).resolve().parent.parent
    return {sys.prefix, sys.base_prefix, str(Path(sys.base_prefix).resolve()), str(code)}


def _socket_folders() -> list[str]:
    folders = [os.path.realpath(Path(folder).expanduser()) for folder in _SOCKETS]
    return [folder for folder in folders if Path(folder).is_dir()]


def _engine_socket() -> str | None:
    """The socket of the engine that the user chose, where no folder hides it."""
    path = os.path.realpath(os.environ.get("DOCKER_HOST", "").removeprefix("unix://"))
    return path if Path(path).is_socket() and not _is_below(path, _HIDDEN) else None


def _is_below(path: str, folders: Sequence[str]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)
