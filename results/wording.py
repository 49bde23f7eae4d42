"""How figures are spelled, the same in the terminal and on pages. What is unknown is said to be unknown."""

from datetime import UTC, datetime

from results.records.events import BackendDescription
from results.records.outcome import TimeSplit
from results.records.usage import Usage
from results.score import Score, cached_share
from results.statistics import Interval

UNKNOWN = "unknown"
NONE = "–"
"""Stands where there is nothing to say, as with the tokens of an agent that needs no model."""


def count(value: int | None) -> str:
    """`12,345`."""
    return UNKNOWN if value is None else f"{value:,}"


def percent(share: float | None) -> str:
    """`66.7%`."""
    return NONE if share is None else f"{share:.1%}"


def interval(value: Interval | None) -> str:
    """`30.0–90.3%`."""
    return "no interval" if value is None else f"{value.low * 100:.1f}–{value.high:.1%}"


def resolved(score: Score) -> str:
    """`4/6 (66.7%)`: never without its denominator."""
    return f"{score.resolved}/{score.n}" + (f" ({percent(score.rate)})" if score.n else "")


def dollars(value: float | None) -> str:
    """`$1.23`, with more digits for what is cheap."""
    if value is None:
        return UNKNOWN
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.4f}"


def duration(seconds: float) -> str:
    """`0.42 s`, `12.3 s`, `5 min 07 s`, `3 h 20 min`."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def moment(seconds: float | None) -> str:
    """`2026-11-22 12:58 UTC`."""
    return UNKNOWN if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def backend(description: BackendDescription | None) -> str:
    """The model's name; says `scripted` where no model stands behind it."""
    if description is None:
        return "no model"
    return f"{description.model} (scripted)" if description.scripted else description.model


def tokens(usage: Usage) -> str:
    """`prompt 1,000 (cached 800, 80.0%), output 100 (reasoning 60)`."""
    if usage == Usage():
        return UNKNOWN
    share = cached_share(usage)
    cached = count(usage.cached_tokens) + ("" if share is None else f", {percent(share)}")
    return (
        f"prompt {count(usage.prompt_tokens)} (cached {cached}), "
        f"output {count(usage.output_tokens)} (reasoning {count(usage.reasoning_tokens)})"
    )


def time_split(time: TimeSplit) -> str:
    """`model 8.00 s (80.0%), tools 1.50 s (15.0%), harness 0.50 s (5.0%)`."""
    parts = {"model": time.model, "tools": time.tools, "harness": time.harness}
    total = time.total or 1.0
    return ", ".join(f"{name} {duration(seconds)} ({percent(seconds / total)})" for name, seconds in parts.items())


def errors(score: Score) -> str:
    """A sentence on the trials that an error kept from a verdict, and what they could make of the score."""
    if score.bounds is None:
        return "none"
    return (
        f"{score.errors} without a verdict, not counted: with {'it' if score.errors == 1 else 'them'} the score would "
        f"lie between {percent(score.bounds.all_failed)} (all failed) and {percent(score.bounds.all_resolved)} "
        "(all resolved)"
    )
