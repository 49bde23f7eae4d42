"""What of an agent's container is kept when it is done, and given to a verifier in a container of its own."""

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, TypeAdapter

from evals.terminal_bench.artifact import MANIFEST, Artifact
from results.whole_files import write_whole
from runners.docker_sandbox import DockerSandbox
from tools.sandbox import SandboxError

ALWAYS = Artifact(source="/logs/artifacts")
"""Collected from every container, whatever a task says."""
LIMIT = 4 * 1024**3
"""Bytes of one artifact that are copied; one that has more is listed as failed, and nothing of it is kept."""


class Collected(BaseModel):
    """A line of artifacts/manifest.json, with the keys that the format has for it."""

    source: str
    destination: str
    """Below artifacts/."""
    type: Literal["file", "directory", "missing"]
    status: Literal["ok", "missing", "failed"]
    service: str = "main"
    exclude: list[str]
    detail: str = ""

    def path(self, folder: Path) -> Path:
        """Where it lies on this machine."""
        return folder / self.destination


_LIST = TypeAdapter(list[Collected])


async def collect(
    sandbox: DockerSandbox,
    artifacts: Sequence[Artifact],
    folder: Path,
    services: Mapping[str, DockerSandbox] | None = None,
) -> list[Collected]:
    """Copy artifacts out of a container, or out of those of other services, and list them in `folder`.

    What is not there is listed as missing, and what cannot be copied, by the agent's doing as well, as failed. Raises
    SandboxError where the container or its engine is gone.
    """
    others = services or {}
    found = [
        await _collect(others.get(artifact.service or "", sandbox), artifact, folder)
        for artifact in (ALWAYS, *artifacts)
    ]
    write_whole(folder / MANIFEST, _LIST.dump_json(found, indent=2) + b"\n")
    return found


async def hand_over(collected: Sequence[Collected], folder: Path, sandbox: DockerSandbox) -> None:
    """Copy what was collected into another container, to the paths that it had. Raises SandboxError."""
    for one in collected:
        if one.status == "ok":
            await sandbox.upload(one.path(folder), one.source)


async def _collect(sandbox: DockerSandbox, artifact: Artifact, folder: Path) -> Collected:
    source = PurePosixPath(sandbox.working_directory, artifact.source)
    destination = artifact.destination or str(source.relative_to("/"))
    target = folder / destination
    listed = Collected(
        source=str(source), destination=destination, type="missing", status="missing", exclude=artifact.exclude
    ).model_copy(update={"service": artifact.service} if artifact.service else {})
    try:
        await sandbox.download(str(source), target, limit=LIMIT)
    except FileNotFoundError:
        return listed
    except (OSError, SandboxError) as error:
        if isinstance(error, SandboxError) and listed.service == "main" and not await sandbox.is_running():
            raise
        await asyncio.to_thread(_remove, target)
        return listed.model_copy(update={"status": "failed", "detail": str(error)})
    if not target.exists():  # it became something else when it was looked at already
        return listed.model_copy(update={"status": "failed", "detail": "neither a file nor a folder"})
    if target.is_dir():
        _leave_out(target, artifact.exclude)
    kind = "directory" if target.is_dir() else "file"
    return listed.model_copy(update={"status": "ok", "type": kind})


def _remove(copied: Path) -> None:
    shutil.rmtree(copied, ignore_errors=True)
    with suppress(OSError):
        copied.unlink()


def _leave_out(folder: Path, patterns: Sequence[str]) -> None:
    """Remove what matches a pattern, by its path below `folder` or by its name alone."""
    for path in sorted(folder.rglob("*"), reverse=True):
        below = path.relative_to(folder).as_posix()
        if any(fnmatchcase(below, pattern) or fnmatchcase(path.name, pattern) for pattern in patterns):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
