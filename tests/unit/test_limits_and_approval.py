"""What a task may spend and what it may do, each decided in one place."""

import pytest

from agent.approval import Approval, Decision, Policy
from agent.limits import Budget
from results.records.manifest import LimitsDescription
from results.records.usage import HardwareCost, Prices, Usage
from tools.tool import Access

PRICES = Prices(prompt=1.0, output=10.0, cached=0.1)


class TestBudget:
    def test_without_limits_nothing_is_exceeded(self) -> None:
        budget = Budget(LimitsDescription(), steps=10**9, usage=Usage(prompt_tokens=10**12))
        assert (budget.exceeded(), budget.cost, budget.is_blind) == (None, None, False)

    @pytest.mark.parametrize(("steps", "over"), [(0, False), (2, False), (3, True), (4, True)])
    def test_steps(self, steps: int, over: bool) -> None:
        exceeded = Budget(LimitsDescription(steps=3), steps=steps).exceeded()
        assert exceeded == (("limit:steps", "the limit of 3 steps was reached") if over else None)

    def test_no_steps_at_all(self) -> None:
        exceeded = Budget(LimitsDescription(steps=0)).exceeded()
        assert exceeded is not None
        assert exceeded[0] == "limit:steps"

    @pytest.mark.parametrize(("output", "over"), [(9, False), (10, True), (11, True)])
    def test_tokens_count_prompt_and_output(self, output: int, over: bool) -> None:
        budget = Budget(
            LimitsDescription(tokens=100), usage=Usage(prompt_tokens=90, cached_tokens=80, output_tokens=output)
        )
        assert budget.exceeded() == (("limit:tokens", "the limit of 100 tokens was reached") if over else None)

    @pytest.mark.parametrize(("output", "over"), [(70, False), (80, True)])
    def test_cost_counts_what_came_from_the_cache_at_its_own_price(self, output: int, over: bool) -> None:
        usage = Usage(prompt_tokens=1100, cached_tokens=1000, output_tokens=output)
        budget = Budget(LimitsDescription(cost=0.001), PRICES, usage=usage)
        assert budget.cost == pytest.approx((100 * 1.0 + 1000 * 0.1 + output * 10.0) / 1e6)
        assert budget.exceeded() == (("limit:cost", "the limit of $0.001 was reached") if over else None)

    def test_a_limit_on_cost_without_a_price_is_refused(self) -> None:
        with pytest.raises(ValueError, match="a limit on cost needs the price"):
            Budget(LimitsDescription(cost=1.0))

    def test_a_limit_on_cost_counts_what_may_not_have_come_from_the_cache(self) -> None:
        usage = Usage(prompt_tokens=1000, output_tokens=0)  # the server says nothing of its cache
        budget = Budget(LimitsDescription(cost=0.001), PRICES, usage=usage)
        assert budget.cost is None
        assert budget.exceeded() == ("limit:cost", "the limit of $0.001 was reached")

    def test_a_limit_on_cost_by_the_hour_needs_no_tokens(self) -> None:
        prices = Prices(hardware=HardwareCost(hour_price=3.6))
        budget = Budget(LimitsDescription(cost=0.01), prices)
        budget.count_response(Usage(), 9.0)
        assert (budget.exceeded(), budget.is_blind) == (None, False)
        budget.count_failure(Usage(), 1.0)
        assert budget.cost == pytest.approx(0.01)
        assert budget.exceeded() == ("limit:cost", "the limit of $0.01 was reached")

    def test_responses_are_steps_and_failures_are_not_and_both_are_paid_for(self) -> None:
        budget = Budget(LimitsDescription())
        budget.count_response(Usage(prompt_tokens=10, output_tokens=1), 1.0)
        budget.count_failure(Usage(prompt_tokens=20, output_tokens=2), 2.0)
        assert (budget.steps, budget.model_seconds) == (1, 3.0)
        assert budget.usage == Usage(prompt_tokens=30, output_tokens=3)

    def test_a_response_without_counts_makes_the_cost_unknown_and_not_less(self) -> None:
        budget = Budget(LimitsDescription(), Prices(prompt=1.0, output=1.0))
        budget.count_response(Usage(prompt_tokens=10, output_tokens=1), 1.0)
        assert budget.cost == pytest.approx(11e-6)
        budget.count_response(Usage(), 1.0)
        assert (budget.cost, budget.usage.unreported) == (None, 1)

    @pytest.mark.parametrize("limits", [LimitsDescription(tokens=5), LimitsDescription(cost=5.0)])
    def test_a_limit_on_what_the_server_does_not_tell_is_noticed(self, limits: LimitsDescription) -> None:
        assert not Budget(limits, PRICES).is_blind
        assert Budget(limits, PRICES, steps=1).is_blind
        assert not Budget(limits, PRICES, steps=1, usage=Usage(prompt_tokens=0)).is_blind
        assert not Budget(LimitsDescription(steps=5), steps=1).is_blind


ALLOWED: dict[Policy, set[Access]] = {
    "ask": {"read"},
    "edits": {"read", "edit"},
    "all": {"read", "edit", "execute"},
    "read-only": {"read"},
}
ACCESSES: tuple[Access, ...] = ("read", "edit", "execute")
EVERY_CASE = [(policy, access) for policy in ALLOWED for access in ACCESSES]


class TestApproval:
    @pytest.mark.parametrize(("policy", "access"), EVERY_CASE)
    async def test_with_nobody_there(self, policy: Policy, access: Access) -> None:
        decision = await Approval(policy).decide("bash", "{}", access)
        assert decision.allowed == (access in ALLOWED[policy])
        assert decision.final == (not decision.allowed and policy != "read-only")
        assert decision.allowed or decision.reason.startswith("Denied: ")

    @pytest.mark.parametrize("answer", [Decision(allowed=True), Decision(allowed=False, reason="Denied by the user.")])
    @pytest.mark.parametrize(("policy", "access"), EVERY_CASE)
    async def test_a_person_is_asked_about_what_the_policy_leaves_open(
        self, policy: Policy, access: Access, answer: Decision
    ) -> None:
        asked: list[tuple[str, str]] = []

        async def person(name: str, arguments: str) -> Decision:
            asked.append((name, arguments))
            return answer

        decision = await Approval(policy, person).decide("bash", '{"command": "ls"}', access)
        if access in ALLOWED[policy] or policy == "read-only":
            assert asked == []
            assert decision.allowed == (access in ALLOWED[policy])
        else:
            assert asked == [("bash", '{"command": "ls"}')]
            assert decision is answer
        assert not decision.final
