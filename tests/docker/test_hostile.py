"""Commands that break other harnesses, in a container, on this machine, and where they harm it in one to throw away."""

import os
from pathlib import Path
from typing import Any

import psutil
import pytest
from docker import DockerClient
from docker.errors import ContainerError
from hostile.case import Case, Seen, check, observe
from hostile.groups import GROUPS

from runners.docker_sandbox import ContainerSettings, DockerSandbox
from runners.local_sandbox import LocalSandbox

IMAGE = "unbroken/base:1"
HERE = Path(__file__).resolve().parents[2]
MEMORY_GROWTH = 64_000_000
"""Bytes by which the harness may grow, whatever is printed."""

ALL = [(group, case) for group, cases in GROUPS.items() for case in cases]
HARMLESS = [(group, case) for group, case in ALL if not case.destructive]
DESTRUCTIVE = [(group, case) for group, case in ALL if case.destructive]


def parameters(cases: list[tuple[str, Case]]) -> Any:
    return pytest.mark.parametrize(("group", "case"), cases, ids=[f"{group}: {case.name}" for group, case in cases])


def test_there_are_enough_in_every_group() -> None:
    assert len(ALL) >= 60
    assert {group: len(cases) for group, cases in GROUPS.items() if len(cases) < 5} == {}


@parameters(ALL)
async def test_in_a_container(client: DockerClient, group: str, case: Case) -> None:
    settings = ContainerSettings(image=IMAGE, directory="/srv/repository", run="test-hostile", **case.limits)
    sandbox = await DockerSandbox.start(client, settings)
    before = psutil.Process().memory_info().rss
    try:
        seen = await observe(sandbox, case)
    finally:
        await sandbox.close()
    check(case, seen)
    assert psutil.Process().memory_info().rss - before < MEMORY_GROWTH


@parameters(HARMLESS)
async def test_on_this_machine(tmp_path: Path, group: str, case: Case) -> None:
    sandbox = LocalSandbox(tmp_path)
    try:
        seen = await observe(sandbox, case, str(tmp_path / "home"))
    finally:
        await sandbox.close()
    check(case, seen)


@parameters(DESTRUCTIVE)
def test_on_a_machine_to_throw_away(client: DockerClient, group: str, case: Case) -> None:
    printed = _run_inside(client, group, case)
    lines = [line for line in printed.splitlines() if line.startswith("SEEN ")]
    if case.ends_local_harness:
        assert not lines
        return
    assert lines, printed[-3000:]
    check(case, Seen.load(lines[-1].removeprefix("SEEN ")))


def _run_inside(client: DockerClient, group: str, case: Case) -> str:
    """Run the case on the local sandbox of a container that has our sources, and what they need, read-only."""
    packages = Path(psutil.__file__).parent
    mounts = {
        str(HERE): {"bind": "/harness", "mode": "ro"},
        str(packages): {"bind": "/packages/psutil", "mode": "ro"},
        **{str(path): {"bind": f"/packages/{path.name}", "mode": "ro"} for path in _needed(packages.parent)},
    }
    try:
        output = client.containers.run(
            IMAGE,
            ["python3", "/harness/tests/hostile/inside.py", group, case.name],
            environment={"PYTHONPATH": "/harness:/harness/tests:/packages", "PYTHONDONTWRITEBYTECODE": "1"},
            volumes=mounts,
            network_mode="none",
            init=True,
            stderr=True,
            remove=True,
            pids_limit=case.limits.get("processes", 2000),
            mem_limit=case.limits.get("memory", "2g"),
            shm_size=case.limits.get("shm", "64m"),
        )
        return output.decode(errors="replace")
    except ContainerError as error:
        return error.stderr.decode(errors="replace") if isinstance(error.stderr, bytes) else str(error.stderr)


def _needed(site_packages: Path) -> list[Path]:
    """What `tools.bash` imports: pydantic and its own needs."""
    names = ("pydantic", "pydantic_core", "annotated_types", "typing_inspection", "typing_extensions.py", "PIL")
    return [site_packages / name for name in names if os.path.lexists(site_packages / name)]
