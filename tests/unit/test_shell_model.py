"""Made-up sequences of commands on this machine, against a model of what stays."""

from pathlib import Path

import pytest
from shell_model import check_what_stays

from runners.local_sandbox import LocalSandbox


@pytest.mark.timeout(1800)
def test_what_stays_on_this_machine(tmp_path: Path) -> None:
    async def open_sandbox() -> LocalSandbox:
        return LocalSandbox(tmp_path)

    check_what_stays(open_sandbox)
