"""How sure a figure is. What cannot be known is None, never a guess."""

import math
from statistics import NormalDist

from results.records.base import Record


class Interval(Record):
    """A confidence interval of a proportion."""

    low: float
    high: float
    confidence: float


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval | None:
    """Wilson's score interval of `successes` out of `n`, without continuity correction; None when `n` is 0.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927). It stays
    inside 0 and 1 and keeps a width at 0/n and n/n, where the usual normal approximation says "no doubt".
    It takes the outcomes as independent, which attempts at the same task are not.
    Raises ValueError for counts that are impossible.
    """
    if not 0 <= successes <= n:
        message = f"{successes} out of {n} is impossible"
        raise ValueError(message)
    if not 0 < confidence < 1:
        message = f"a confidence lies between 0 and 1, not at {confidence}"
        raise ValueError(message)
    if n == 0:
        return None
    squared = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2
    centre = (successes + squared / 2) / (n + squared)
    reach = math.sqrt(squared * (successes * (n - successes) / n + squared / 4)) / (n + squared)
    low = 0.0 if successes == 0 else centre - reach
    high = 1.0 if successes == n else centre + reach
    return Interval(low=low, high=high, confidence=confidence)
