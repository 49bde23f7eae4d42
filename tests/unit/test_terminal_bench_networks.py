"""Which network a phase of a task has: its own, or that of the environment."""

from typing import Any

import pytest

from evals.terminal_bench.environment import TaskLimits, network_in
from evals.terminal_bench.task_file import AgentTable, EnvironmentTable, VerifierTable
from runners.sandbox_options import Capacity

LISTED = EnvironmentTable(network_mode="allowlist", allowed_hosts=["a.invalid"])


def test_a_phase_that_says_nothing_has_the_environments() -> None:
    assert network_in(EnvironmentTable(), AgentTable()) == ("public", ())
    assert network_in(EnvironmentTable(allow_internet=False), VerifierTable()) == ("no-network", ())
    assert network_in(LISTED, AgentTable()) == network_in(LISTED) == ("allowlist", ("a.invalid",))


def test_a_phase_has_its_own_network_and_its_own_hosts() -> None:
    assert network_in(LISTED, AgentTable(network_mode="public")) == ("public", ())
    own = VerifierTable(network_mode="allowlist", allowed_hosts=["b.invalid"])
    assert network_in(LISTED, own) == ("allowlist", ("b.invalid",))
    assert network_in(EnvironmentTable(), own) == ("allowlist", ("b.invalid",))


def test_a_list_that_a_phase_does_not_state_is_the_environments() -> None:
    assert network_in(LISTED, AgentTable(network_mode="allowlist")) == ("allowlist", ("a.invalid",))


@pytest.mark.parametrize("hosts", [None, []])
def test_a_list_without_hosts_lets_nobody_reach_anything(hosts: list[str] | None) -> None:
    agent = AgentTable(network_mode="allowlist", allowed_hosts=hosts)
    assert network_in(EnvironmentTable(), agent) == ("no-network", ())
    assert TaskLimits().options(EnvironmentTable(), agent).network == "none"
    assert network_in(EnvironmentTable(network_mode="allowlist", allowed_hosts=hosts)) == ("no-network", ())


@pytest.mark.parametrize(
    ("asked", "of_task", "holds"),
    [
        ({}, {}, (None, None)),
        ({}, {"cpus": 1, "memory_mb": 2048}, (1, "2g")),
        ({}, {"cpus": 32, "memory_mb": 65536}, (2, "4g")),
        ({"cpus": 16, "memory": "48g"}, {"cpus": 1, "memory_mb": 1024}, (2, "4g")),
        ({"cpus": 1.5, "memory": "4g"}, {}, (1.5, "4g")),
    ],
)
def test_who_asks_for_more_than_there_is_gets_what_there_is(
    asked: dict[str, Any], of_task: dict[str, Any], holds: tuple[float | None, str | None]
) -> None:
    limits = TaskLimits(**asked, clipped_to=Capacity(cpus=2, memory=4 * 2**30))
    options = limits.options(EnvironmentTable(**of_task))
    assert (options.cpus, options.memory) == holds
