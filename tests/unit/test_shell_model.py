"""Made-up sequences of commands on this machine, against a model of what stays."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from shell_model import ShellMachine

from runners.local_sandbox import LocalSandbox

SEQUENCES = 2000 if os.environ.get("UNBROKEN_LONG") else 40


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[type[ShellMachine]]:
    loop = asyncio.new_event_loop()
    opened = loop.run_until_complete(_open(tmp_path))

    class LocalShell(ShellMachine):
        pass

    LocalShell.loop, LocalShell.sandbox = loop, opened
    yield LocalShell
    loop.run_until_complete(opened.close())
    loop.close()


@pytest.mark.timeout(1800)
def test_what_stays_on_this_machine(machine: type[ShellMachine]) -> None:
    chosen = settings(
        max_examples=SEQUENCES,
        stateful_step_count=12,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(machine, settings=chosen)


async def _open(folder: Path) -> LocalSandbox:
    return LocalSandbox(folder)
