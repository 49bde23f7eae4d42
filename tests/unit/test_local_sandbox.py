"""The sandbox that is this machine."""

from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from sandbox_promises import SandboxPromises

from runners.local_sandbox import LocalSandbox


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[LocalSandbox]:
    directory = tmp_path / "repository"
    directory.mkdir()
    opened = LocalSandbox(directory)
    yield opened
    await opened.close()


class TestLocalSandbox(SandboxPromises):
    """Every promise, on this machine."""

    async def test_it_leaves_nothing_behind(self, tmp_path: Path) -> None:
        opened = LocalSandbox(tmp_path)
        await opened.shell("x=1", timeout=10)
        folders = [Path(opened.scratch_directory), Path(str(opened._state))]  # pyright: ignore[reportPrivateUsage]
        assert all(folder.exists() for folder in folders)
        await opened.close()
        assert not any(folder.exists() for folder in folders)

    async def test_closing_ends_what_earlier_commands_left_in_the_background(self, tmp_path: Path) -> None:
        opened = LocalSandbox(tmp_path)
        await opened.shell("sleep 981 & (setsid sleep 981 &)", timeout=10)
        await opened.shell("true", timeout=10)
        await opened.close()
        dead = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        left = [process for process in psutil.process_iter(["cmdline", "status"]) if process.info["status"] not in dead]
        assert ["sleep", "981"] not in [process.info["cmdline"] for process in left]
