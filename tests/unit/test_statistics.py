"""Intervals agree with a second implementation, and refuse to guess."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.statistics import wilson_interval


def oracle(successes: int, n: int, confidence: float) -> tuple[float, float]:
    from statsmodels.stats import proportion

    confint = cast("Any", proportion).proportion_confint
    low, high = confint(successes, n, alpha=1 - confidence, method="wilson")
    return float(low), float(high)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99, 0.999])
@pytest.mark.parametrize(
    ("successes", "n"), [(0, 1), (1, 1), (0, 6), (6, 6), (4, 6), (1, 500), (250, 500), (499, 500), (3, 1_000_000)]
)
def test_wilson_agrees_with_statsmodels(successes: int, n: int, confidence: float):
    interval = wilson_interval(successes, n, confidence)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(oracle(successes, n, confidence), abs=1e-9)
    assert interval.confidence == confidence


@given(counts=st.integers(1, 5_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_any_interval_agrees_holds_its_rate_and_stays_inside(counts: tuple[int, int]):
    successes, n = counts
    interval = wilson_interval(successes, n)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(oracle(successes, n, 0.95), abs=1e-9)
    assert 0 <= interval.low <= successes / n <= interval.high <= 1
    assert interval.low < interval.high


def test_none_and_all_of_them_reach_the_edge_exactly_and_keep_a_width():
    none, everything = wilson_interval(0, 10), wilson_interval(10, 10)
    assert none is not None
    assert everything is not None
    assert none.low == 0.0
    assert everything.high == 1.0
    assert none.high == pytest.approx(1 - everything.low)
    assert none.high > 0.25


def test_of_nothing_there_is_no_interval():
    assert wilson_interval(0, 0) is None


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5), (0, -1)])
def test_impossible_counts_are_refused(successes: int, n: int):
    with pytest.raises(ValueError, match="is impossible"):
        wilson_interval(successes, n)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, float("nan")])
def test_impossible_confidences_are_refused(confidence: float):
    with pytest.raises(ValueError, match="a confidence lies between 0 and 1"):
        wilson_interval(1, 2, confidence)
