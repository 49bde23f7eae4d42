"""What tokens and hardware cost: exact where it can be known, within bounds where it cannot, and never silently 0."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from results import wording
from results.records.usage import HardwareCost, Prices, Usage

ALL = Prices(prompt=1.0, cached=0.1, cache_write=1.25, output=10.0)
FULL = Usage(prompt_tokens=1000, cached_tokens=600, cache_write_tokens=100, output_tokens=50, reasoning_tokens=20)
KNOWN = st.one_of(st.none(), st.integers(0, 10**6))
USAGES = st.builds(
    Usage,
    prompt_tokens=KNOWN,
    cached_tokens=KNOWN,
    output_tokens=KNOWN,
    cache_write_tokens=KNOWN,
    unreported=st.integers(0, 1),
)


def test_every_kind_of_token_has_its_own_price() -> None:
    assert ALL.cost(FULL) == pytest.approx((300 * 1.0 + 600 * 0.1 + 100 * 1.25 + 50 * 10.0) / 1e6)


def test_a_price_that_is_not_stated_is_that_of_the_prompt() -> None:
    assert Prices(prompt=1.0, output=10.0).cost(FULL) == pytest.approx((1000 + 500) / 1e6)


@pytest.mark.parametrize("name", ["prompt_tokens", "output_tokens", "cached_tokens", "cache_write_tokens"])
def test_a_count_that_decides_about_the_cost_and_is_unknown_makes_it_unknown(name: str) -> None:
    usage = FULL.model_copy(update={name: None})
    assert ALL.cost(usage) is None
    assert ALL.bounds(usage).low > 0


def test_a_count_without_a_price_of_its_own_may_be_unknown() -> None:
    usage = Usage(prompt_tokens=1000, output_tokens=50)
    assert Prices(prompt=1.0, output=10.0).cost(usage) == pytest.approx(1500 / 1e6)


def test_an_unknown_cache_lies_between_all_of_it_and_none() -> None:
    bounds = Prices(prompt=1.0, cached=0.1, output=10.0).bounds(Usage(prompt_tokens=1000, output_tokens=0))
    assert tuple(bounds) == pytest.approx((100 / 1e6, 1000 / 1e6))


def test_responses_without_counts_leave_a_lower_bound_alone() -> None:
    known = Usage(prompt_tokens=1000, output_tokens=0)
    bounds = Prices(prompt=1.0, output=1.0).bounds(known + Usage(unreported=1))
    assert (bounds.low, bounds.high) == (pytest.approx(1000 / 1e6), None)


@given(one=USAGES, other=USAGES)
def test_adding_usage_up_never_makes_it_cheaper_and_bounds_are_in_order(one: Usage, other: Usage) -> None:
    whole = ALL.bounds(one + other)
    assert whole.high is None or whole.low <= whole.high
    assert (one + other).unreported == one.unreported + other.unreported
    assert (one + other).total_tokens == one.total_tokens + other.total_tokens
    assert (ALL.cost(one + other) is None) == (whole.high is None or whole.low != whole.high)


def test_hardware_costs_its_energy_and_its_hours() -> None:
    energy = HardwareCost(watts=500, kwh_price=0.4)
    assert energy.cost(3600) == pytest.approx(0.2)
    assert HardwareCost(watts=500, kwh_price=0.4, hour_price=2.0).cost(1800) == pytest.approx(1.1)
    prices = Prices(hardware=energy)
    assert prices.cost(Usage(), 3600) == pytest.approx(0.2)  # no token count is needed
    assert prices.cost(Usage()) is None  # but the time is
    assert Prices(prompt=1.0, output=1.0, hardware=energy).cost(
        Usage(prompt_tokens=10**6, output_tokens=0), 3600
    ) == pytest.approx(1.2)


@pytest.mark.parametrize(
    "made",
    [
        lambda: Prices(),
        lambda: Prices(prompt=1.0),
        lambda: Prices(output=1.0),
        lambda: HardwareCost(),
        lambda: HardwareCost(watts=300),
        lambda: HardwareCost(kwh_price=0.3),
        lambda: HardwareCost(hour_price=-1.0),
        lambda: HardwareCost(hour_price=float("nan")),
    ],
)
def test_what_makes_no_price_is_refused(made: "type[Prices]") -> None:
    with pytest.raises(ValidationError):
        made()


def test_prices_of_an_older_run_are_read() -> None:
    assert Prices.model_validate_json('{"prompt": 1.0, "output": 4.0, "cached": 0.1}') == Prices(
        prompt=1.0, output=4.0, cached=0.1
    )


class TestWords:
    def test_a_cost_says_what_is_known_of_it(self) -> None:
        incomplete = FULL + Usage(unreported=2)
        assert wording.cost(0.25, ALL, FULL, 1.0) == "$0.2500"
        assert wording.cost(None, ALL, incomplete, 1.0) == "at least $0.0010"
        assert wording.cost(None, ALL, Usage(), 1.0) == "unknown"
        assert wording.cost(None, None, FULL, 1.0) == "unknown"

    def test_hardware_that_trials_shared_costs_at_most_the_sum(self) -> None:
        prices = Prices(hardware=HardwareCost(hour_price=2.0))
        assert wording.cost(1.5, prices, FULL, 2700.0, shared=True) == "at most $1.50"
        assert wording.cost(1.5, prices, FULL, 2700.0) == "$1.50"
        assert wording.cost(1.5, ALL, FULL, 2700.0, shared=True) == "$1.50"

    def test_tokens_are_named_by_what_became_of_them(self) -> None:
        assert wording.tokens(FULL) == (
            "prompt 1,000 (cached 600, 60.0%; written to the cache 100), output 50 (reasoning 20)"
        )
        assert wording.tokens(Usage(prompt_tokens=10, output_tokens=1, unreported=1)) == (
            "prompt 10 (cached unknown), output 1 (reasoning unknown); 1 response without counts"
        )
        assert wording.tokens(Usage(unreported=3)) == "unknown"

    def test_prices_say_from_when_and_where_they_are(self) -> None:
        dated = Prices(prompt=0.95, cached=0.16, output=4.0, dated="2026-06-12", source="the list")
        assert wording.prices(dated) == (
            "prompt $0.95, cached $0.16, output $4 for a million tokens, read on 2026-06-12 (the list)"
        )
        hardware = HardwareCost(watts=300, kwh_price=0.25, hour_price=2.0)
        assert wording.prices(Prices(hardware=hardware)) == "300 W at $0.25 a kWh and hardware at $2 an hour"
        assert wording.prices(None) == "unknown"

    def test_what_came_up_is_told_in_words(self) -> None:
        named = {"call_in_reasoning": 2, "empty_turn": 1, "of_a_later_version": 3, "retry": 0}
        assert wording.counts(named) == (
            "2 calls recovered from thinking, 1 empty turn asked again, 3 × of a later version"
        )
        assert wording.counts({}) == "none"
