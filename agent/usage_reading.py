"""Token counts from what a server reports, at the places where its dialect keeps them."""

from collections.abc import Sequence

from agent.dialects.dialect import UsagePaths
from agent.dialects.patterns import values_at


def read_counts(usage: object, paths: UsagePaths) -> dict[str, int]:
    """The counts by their names in `results.records.usage.Usage`.

    What the server does not say, or not as a whole number, is left out: unknown is not 0.
    """
    places = {
        "prompt_tokens": paths.prompt,
        "cached_tokens": paths.cached,
        "cache_write_tokens": paths.cache_write,
        "output_tokens": paths.output,
        "reasoning_tokens": paths.reasoning,
    }
    counts = {name: _first_count(usage, alternatives) for name, alternatives in places.items()}
    return {name: count for name, count in counts.items() if count is not None}


def _first_count(usage: object, paths: Sequence[str]) -> int | None:
    return next((value for path in paths for value in values_at(usage, path) if _is_count(value)), None)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
