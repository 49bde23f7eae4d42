"""The editor's promises, on this machine."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from editor_at_work import EditorDesk
from editor_promises import EditorPromises

from runners.local_sandbox import LocalSandbox


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[EditorDesk]:
    sandbox = LocalSandbox(tmp_path)
    yield EditorDesk(sandbox, str(tmp_path))
    await sandbox.close()


class TestLocalEditor(EditorPromises):
    """Every promise, in a folder of this machine."""
