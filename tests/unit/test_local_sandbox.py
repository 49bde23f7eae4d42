"""The sandbox that is this machine."""

from collections.abc import AsyncIterator
from pathlib import Path

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
