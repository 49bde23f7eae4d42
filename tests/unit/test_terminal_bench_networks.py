"""Which network a phase of a task has: its own, or that of the environment."""

import pytest

from evals.terminal_bench.environment import TaskLimits, network_in
from evals.terminal_bench.task_file import AgentTable, EnvironmentTable, VerifierTable

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
