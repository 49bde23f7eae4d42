"""How figures are spelled, the same in the terminal and on pages. What is unknown is said to be unknown."""

from collections.abc import Mapping
from datetime import UTC, datetime

from results.records.events import BackendDescription
from results.records.outcome import TimeSplit
from results.records.usage import Prices, Usage
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


def cost(
    value: float | None, prices: Prices | None, usage: Usage, model_seconds: float, *, shared: bool = False
) -> str:
    """`$1.23`, `at least $1.23` where counts are missing, `unknown` without a price.

    `shared`: several trials waited for one machine at the same time, so that its cost is counted more than once.
    """
    overstated = shared and prices is not None and prices.hardware is not None
    if value is not None:
        return f"at most {dollars(value)}" if overstated else dollars(value)
    low = prices.bounds(usage, model_seconds).low if prices and not overstated else 0.0
    return f"at least {dollars(low)}" if low > 0 else UNKNOWN


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
    """`prompt 1,000 (cached 800, 80.0%), output 100 (reasoning 60)`; what was written to the cache where it is told."""
    if is_unreported(usage):
        return UNKNOWN
    share = cached_share(usage)
    cached = count(usage.cached_tokens) + ("" if share is None else f", {percent(share)}")
    written = "" if usage.cache_write_tokens is None else f"; written to the cache {count(usage.cache_write_tokens)}"
    missing = f"; {_times(usage.unreported, 'response')} without counts" if usage.unreported else ""
    return (
        f"prompt {count(usage.prompt_tokens)} (cached {cached}{written}), "
        f"output {count(usage.output_tokens)} (reasoning {count(usage.reasoning_tokens)}){missing}"
    )


def is_unreported(usage: Usage) -> bool:
    """Whether no count of it is known."""
    return usage.model_copy(update={"unreported": 0}) == Usage()


def counts(named: Mapping[str, int]) -> str:
    """`2 calls recovered from thinking, 1 empty turn asked again`; `none` where nothing of the kind came up."""
    said = [_happening(name, number) for name, number in named.items() if number]
    return ", ".join(said) or "none"


def _happening(name: str, number: int) -> str:
    if name not in _HAPPENINGS:
        return f"{number:,} × {name.replace('_', ' ')}"
    noun, rest = _HAPPENINGS[name]
    return f"{_times(number, noun)} {rest}".rstrip()


def _times(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def prices(value: Prices | None) -> str:
    """`prompt $0.95, cached $0.16, output $4 for a million tokens, read on 2026-06-12 (where)`."""
    if value is None:
        return UNKNOWN
    named = {"prompt": value.prompt, "cached": value.cached, "cache write": value.cache_write, "output": value.output}
    stated = [f"{name} ${price:g}" for name, price in named.items() if price is not None]
    said = [", ".join(stated) + " for a million tokens"] if stated else []
    if hardware := value.hardware:
        said += [] if hardware.watts is None else [f"{hardware.watts:g} W at ${hardware.kwh_price:g} a kWh"]
        said += [] if hardware.hour_price is None else [f"hardware at ${hardware.hour_price:g} an hour"]
    read = f", read on {value.dated}" if value.dated else ""
    return " and ".join(said) + read + (f" ({value.source})" if value.source else "")


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


def broken_environments(score: Score) -> str:
    """A sentence on the trials that count as not resolved though nobody could know, and what they could make of it."""
    number, resolved, n = score.broken_environments, score.resolved, score.n
    without = f"{resolved}/{n - number} ({percent(resolved / (n - number))})" if n > number else "nothing"
    return (
        f"{number} counted as not resolved, as the protocol has it, though not the work but the environment of the "
        f"tests failed: without {'it' if number == 1 else 'them'} the score would be {without}, and at most "
        f"{percent((resolved + number) / n)}"
    )


_HAPPENINGS = {
    "call_in_reasoning": ("call", "recovered from thinking"),
    "call_in_content": ("call", "recovered from text"),
    "cut_call": ("call", "cut off and not run"),
    "opening_tag_missing": ("call", "without its opening tag"),
    "inline_thinking": ("turn", "with thinking split off from the text"),
    "inline_thinking_rewritten": ("turn", "whose thinking within the text went back with other line ends"),
    "empty_turn": ("empty turn", "asked again"),
    "missing_call_id": ("call", "without an id"),
    "repeated_call_id": ("call", "with the id of another"),
    "empty_arguments": ("call", "with empty arguments"),
    "arguments_not_an_object": ("call", "with arguments that are no JSON object"),
    "no_content": ("turn", "with neither text nor calls"),
    "unreadable_answer": ("answer", "that could not be read, and nothing of it typed"),
    "warned_answer": ("answer", "that was carried out with a complaint"),
    "cut_answer": ("answer", "broken off by the output limit, and nothing of it typed"),
    "calls_without_tools": ("turn", "with calls, where there was no tool to call"),
    "lone_surrogate": ("text", "with half a character"),
    "reasoning_sent_inline": ("turn", "whose thinking went back within the text"),
    "empty_reasoning_added": ("turn", "that went back with empty thinking added"),
    "foreign_signature_added": ("call", "that went back with a signature not its own"),
    "retry": ("request", "sent again after a failure"),
    "compaction": ("compaction", ""),
    "truncated": ("prompt", "that the server cut in silence"),
    "truncated_tokens": ("token", "cut in silence"),
    "prefix_lost": ("turn", "whose prefix the server's cache had lost"),
    "prefix_lost_tokens": ("token", "computed again that the cache should have had"),
    "repetition": ("warning", "about repetition"),
    "conversation": ("conversation", ""),
    "prefix_kept": ("request", "that went on with what was sent before"),
    "prefix_broken": ("request", "that changed what was sent before"),
    "thinking_kept": ("turn", "whose thinking came back as it was"),
    "thinking_lost": ("turn", "whose thinking did not come back as it was"),
    "turn_left_out": ("turn", "that the agent left out"),
    "setting_overridden": ("request", "with settings other than the run's"),
    "relay_refused": ("request", "that the relay refused"),
    "backend_failed": ("request", "that the backend failed to answer"),
}
"""What the names in an outcome's `counts` mean: a noun, and what is to be said of it."""
