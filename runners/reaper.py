"""Removes what dead runs left behind: processes, containers, images of them, networks, volumes, temporary folders.

Everything that the harness makes names its owner from its first moment on (`runners.owner`): by a label on what a
Docker engine keeps, in the name of a folder, in the environment of a process. What a live owner made is never
touched, nor is what was made where we cannot know whether its owner lives, unless that is asked for. A label that
cannot be read is left alone and told. Nothing here raises: what cannot be removed is told as well.

Several may reap at the same time: what another one removes first is fine.
"""

import asyncio
import contextlib
import os
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from runners.bridge_firewall import remove_stale_rules
from runners.docker_engine import OWNER_LABEL, RUN_LABEL, SNAPSHOT_LABEL, engine_errors
from runners.marked_processes import MARK
from runners.owner import Owner, owner_of_folder, this_process
from tools.sandbox import SandboxError

if TYPE_CHECKING:
    import psutil
    from docker import DockerClient

Kind = Literal["process", "container", "image", "network", "volume", "folder"]

_PLACES = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - where other runs may have had their temporary folders
_ROUNDS = 10
_PATIENCE = 5.0
_GONE, _UNDER_WAY = 404, 409


@dataclass(frozen=True)
class Remnant:
    """A thing that some run of the harness left, or still uses."""

    kind: Kind
    name: str
    by_hand: str
    """The command with which a person removes it."""
    owner: Owner | None
    """None where what says it cannot be read."""
    remove: Callable[[], None] = field(repr=False, compare=False)
    """Raises SandboxError or OSError."""
    run: str = ""

    def __str__(self) -> str:
        if self.owner is None:
            origin = "which an older version left, or nobody known"
        else:
            origin = f"of process {self.owner.process_id} on {self.owner.host}"
        return f"{self.kind} {self.name} {origin}" + (f", run {self.run}" if self.run else "")


@dataclass
class Reaping:
    """What came of it."""

    removed: list[Remnant] = field(default_factory=list[Remnant])
    """With `dry_run`: what would have been removed."""
    failed: list[tuple[Remnant, str]] = field(default_factory=list[tuple[Remnant, str]])
    """What could not be removed, and why."""
    left: list[Remnant] = field(default_factory=list[Remnant])
    """What may be anybody's: its owner cannot be read, or is not on this machine."""
    unseen: list[str] = field(default_factory=list[str])
    """Why something could not be looked at."""

    @property
    def counts(self) -> str:
        """How much was removed: `2 containers, 1 folder`; empty for nothing."""
        return ", ".join(_counted(number, kind) for kind, number in Counter(one.kind for one in self.removed).items())


def reap(client: "DockerClient | None", *, all_hosts: bool = False, dry_run: bool = False) -> Reaping:
    """Remove what dead owners left on this machine and, with a `client`, in its engine. Blocks: call it in a thread.

    `all_hosts`: also what other machines, and containers that the harness runs in, made in that engine, although
    they may be at work with it right now.
    """
    reaping = Reaping()
    # Processes first, which might write to the folders; networks after the containers on them.
    _end_processes(reaping, dry_run=dry_run)
    for name, find in _sources(client):
        try:
            with engine_errors():
                found = list(find())
        except SandboxError as error:
            reaping.unseen.append(f"{name} were not looked at: {error}")
            continue
        for remnant in found:
            if _is_to_go(remnant, all_hosts=all_hosts):
                _remove(remnant, reaping, dry_run=dry_run)
            else:
                reaping.left.append(remnant)
    if any(remnant.kind == "network" for remnant in reaping.removed) and not dry_run:
        asyncio.run(remove_stale_rules())
    return reaping


def reap_beside(client: "DockerClient | None") -> "Future[Reaping]":
    """Reap in a thread that neither the caller nor the end of the process waits for."""
    reaping: Future[Reaping] = Future()

    def work() -> None:
        try:
            reaping.set_result(reap(client))
        except Exception as error:  # the boundary of a thread that nobody may be hurt by
            reaping.set_exception(error)

    threading.Thread(target=work, name="reaper", daemon=True).start()
    return reaping


def remove_containers(client: "DockerClient", run: str) -> list[str]:
    """Remove the containers that this process made for `run`, and return why some are still there.

    For the end of a run: an engine that broke off in the middle may have made some that nobody was told of.
    """
    mine = str(this_process())
    reaping = Reaping()
    try:
        with engine_errors():
            found = list(_containers(client.api, lambda labels: labels[OWNER_LABEL] == mine))
    except SandboxError as error:
        return [str(error)]
    for remnant in found:
        if remnant.run == run:
            _remove(remnant, reaping)
    return [f"{remnant.kind} {remnant.name}: {reason}" for remnant, reason in reaping.failed]


def _sources(client: "DockerClient | None") -> Iterator[tuple[str, Callable[[], Iterable[Remnant]]]]:
    if client is not None:
        api = client.api
        yield "containers", lambda: _containers(api)
        yield "images", lambda: _snapshots(api)
        yield "networks", lambda: _networks(api)
        yield "volumes", lambda: _volumes(api)
    yield "folders", _folders


def _is_to_go(remnant: Remnant, *, all_hosts: bool) -> bool:
    if remnant.owner is None:
        return False
    in_engine = remnant.kind in ("container", "image", "network", "volume")
    return remnant.owner.is_dead or (all_hosts and in_engine and not remnant.owner.is_here)


def _remove(remnant: Remnant, reaping: Reaping, *, dry_run: bool = False) -> None:
    try:
        if not dry_run:
            with engine_errors():
                remnant.remove()
    except (SandboxError, OSError) as error:
        reaping.failed.append((remnant, str(error)))
    else:
        reaping.removed.append(remnant)


# What an engine keeps.

_Wanted = Callable[[Mapping[str, str]], bool]


def _is_not_in_use(labels: Mapping[str, str]) -> bool:
    """Whether it is dead, or nobody here knows. An empty label is that of an image made from a container of ours."""
    owner = Owner.parse(labels[OWNER_LABEL])
    return bool(labels[OWNER_LABEL]) and (owner is None or owner.is_dead or not owner.is_here)


def _containers(api: Any, wanted: _Wanted = _is_not_in_use) -> Iterator[Remnant]:
    for row in api.containers(all=True, filters=_OURS):
        labels, identity = row["Labels"], row["Id"]
        if wanted(labels) and not _is_inherited(api, row):
            name = row["Names"][0].lstrip("/") if row["Names"] else identity[:12]
            remove = _quietly(lambda identity=identity: api.remove_container(identity, v=True, force=True))
            yield _in_engine("container", name, labels, remove)


def _snapshots(api: Any) -> Iterator[Remnant]:
    """The images that were made of containers for a moment; one that a person gave a name is theirs."""
    for row in api.images(all=True, filters={"label": SNAPSHOT_LABEL}):
        labels: dict[str, str] = {OWNER_LABEL: row["Labels"][SNAPSHOT_LABEL]}
        is_named = any(tag != _NO_TAG for tag in row["RepoTags"] or ())
        if not is_named and _is_not_in_use(labels):
            remove = _quietly(lambda identity=row["Id"]: api.remove_image(identity, force=True, noprune=True))
            yield _in_engine("image", row["Id"].removeprefix("sha256:")[:12], labels, remove)


def _networks(api: Any) -> Iterator[Remnant]:
    for row in api.networks(filters=_OURS):
        if _is_not_in_use(row["Labels"]):
            remove = _quietly(lambda identity=row["Id"]: api.remove_network(identity))
            yield _in_engine("network", row["Name"], row["Labels"], remove)


def _volumes(api: Any) -> Iterator[Remnant]:
    rows: list[dict[str, Any]] = api.volumes(filters=_OURS)["Volumes"] or []
    for row in rows:
        if _is_not_in_use(row["Labels"]):
            remove = _quietly(lambda name=row["Name"]: api.remove_volume(name, force=True))
            yield _in_engine("volume", row["Name"], row["Labels"], remove)


_OURS = {"label": OWNER_LABEL}
_NO_TAG = "<none>:<none>"


def _in_engine(kind: Kind, name: str, labels: Mapping[str, str], remove: Callable[[], None]) -> Remnant:
    command = {
        "container": "rm --force --volumes", "image": "rmi --force", "network": "network rm", "volume": "volume rm",
    }[kind]  # fmt: skip
    owner = Owner.parse(labels[OWNER_LABEL])
    return Remnant(kind, name, f"docker {command} {name}", owner, remove, labels.get(RUN_LABEL, ""))


def _is_inherited(api: Any, row: Mapping[str, Any]) -> bool:
    """Whether the label is the image's: a person made that from one of our containers, and this one from that."""
    from docker.errors import NotFound

    try:
        image = api.inspect_image(row["ImageID"])
    except NotFound:
        return False
    labels: dict[str, str] = image["Config"].get("Labels") or {}
    return labels.get(OWNER_LABEL) == row["Labels"][OWNER_LABEL]


def _quietly(remove: Callable[[], object]) -> Callable[[], None]:
    """Nothing is wrong with what is gone, or what somebody else is removing."""

    def attempt() -> None:
        from docker.errors import APIError

        try:
            remove()
        except APIError as error:
            under_way = error.status_code == _UNDER_WAY and "already in progress" in str(error.explanation)
            if error.status_code != _GONE and not under_way:
                raise

    return attempt


# What lies on this machine.


def _folders() -> list[Remnant]:
    places = {Path(place).resolve() for place in (tempfile.gettempdir(), *_PLACES)}
    found: list[Remnant] = []
    for place in sorted(places):
        with contextlib.suppress(OSError):
            found += [remnant for path in place.iterdir() if (remnant := _folder(path))]
    return found


def _folder(path: Path) -> Remnant | None:
    owner = owner_of_folder(path)
    if owner is None or not _may_remove(path) or not (owner.is_dead or not owner.is_here):
        return None
    return Remnant("folder", str(path), f"rm -r {path}", owner, lambda: _remove_folder(path))


def _may_remove(path: Path) -> bool:
    """Whether it is a folder of this user's; root sees to everybody's."""
    with contextlib.suppress(OSError):
        user = os.getuid()
        return path.is_dir() and not path.is_symlink() and user in (0, path.lstat().st_uid)
    return False


def _remove_folder(path: Path) -> None:
    # With rm, for which no tree is too deep. An agent may have taken our own rights away from us.
    for command in (["rm", "-rf"], ["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        done = subprocess.run([*command, "--", str(path)], capture_output=True, check=False)
        if not path.exists():
            return
    lines = done.stderr.decode(errors="replace").strip().splitlines() or ["it says nothing"]
    raise OSError(lines[0])


def _end_processes(reaping: Reaping, *, dry_run: bool) -> None:
    import psutil

    for _ in range(_ROUNDS):  # one may have started others while it was looked at
        doomed = _doomed_processes()
        found = [_process(process, owner) for process, owner in doomed.items()]
        if dry_run or not doomed:
            reaping.removed += found
            return
        # Stopped first: none sees the others go, and starts them again.
        for end in (psutil.Process.suspend, psutil.Process.kill):
            for process in doomed:
                with contextlib.suppress(psutil.Error):
                    end(process)
        for remnant in found:
            _remove(remnant, reaping)
        if reaping.failed:
            return


def _doomed_processes() -> "dict[psutil.Process, Owner]":
    """The processes that carry the mark of a dead owner, and all that descends from them."""
    import psutil

    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    doomed: dict[psutil.Process, Owner] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            owner = Owner.at_start_of(process.environ().get(MARK, ""))
            if owner is not None and owner.is_dead:
                doomed |= dict.fromkeys([process, *process.children(recursive=True)], owner)
    return {process: owner for process, owner in doomed.items() if process.pid not in spared and _is_running(process)}


def _process(process: "psutil.Process", owner: Owner) -> Remnant:
    import psutil

    name = str(process.pid)
    with contextlib.suppress(psutil.Error):
        name += f" ({process.name()})"
    return Remnant("process", name, f"kill -9 {process.pid}", owner, lambda: _wait_for_end(process))


def _wait_for_end(process: "psutil.Process") -> None:
    deadline = time.monotonic() + _PATIENCE
    while _is_running(process):
        if time.monotonic() > deadline:
            message = "it was killed, and does not end"
            raise OSError(message)
        time.sleep(0.01)


def _is_running(process: "psutil.Process") -> bool:
    """Whether it is there, and does not only wait to be buried by somebody else."""
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _counted(number: int, kind: str) -> str:
    plural = {"process": "processes"}.get(kind, f"{kind}s")
    return f"1 {kind}" if number == 1 else f"{number} {plural}"
