"""Describes a start of a run: where and with what it is carried out."""

import os
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from results.records.doctor import DoctorReport
from results.records.manifest import Extension, SessionRecord
from results.run_directory import RunDirectory
from runners.docker_engine import engine_version

if TYPE_CHECKING:
    from docker import DockerClient


def describe_session(
    run: RunDirectory,
    client: "DockerClient",
    concurrency: int,
    doctor: DoctorReport | None = None,
    allow_lost_thinking: bool = False,
    command: Sequence[str] = (),
) -> SessionRecord:
    """The record of a start that is made now."""
    return SessionRecord(
        started=time.time(),
        manifest_sha256=run.manifest.sha256(),
        machine=machine_here(),
        python=platform.python_version(),
        engine=engine_version(client),
        commit=commit_here(),
        concurrency=concurrency,
        command=list(command),
        directory=os.getcwd() if command else None,  # noqa: PTH109 - a string
        doctor=doctor,
        extension=_extension(run),
        allow_lost_thinking=allow_lost_thinking,
    )


def _extension(run: RunDirectory) -> Extension | None:
    extent = Extension.of(run.manifest)
    return None if extent == Extension.of(RunDirectory.open(run.path).manifest) else extent


def machine_here() -> str:
    """What records call this machine."""
    return f"{platform.platform()}, {os.cpu_count()} cores"


def commit_here() -> str | None:
    """The commit that the harness runs from, with `+` for changes on top; None for an installed package."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        head = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        status = subprocess.run(
            ["git", "-C", root, "status", "--porcelain"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if status.stdout.strip() else "")
