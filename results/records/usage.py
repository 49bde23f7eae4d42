"""Token counts, as the server reports them."""

from results.records.base import Record


class Usage(Record):
    """Tokens of one response, or of many added up. None: the server did not say, which is never the same as 0.

    `prompt_tokens` includes `cached_tokens`; `output_tokens` includes `reasoning_tokens`.
    """

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None

    def __add__(self, other: "Usage") -> "Usage":
        """Add up; a side that is unknown counts as nothing, and the sum is unknown only when both are."""
        return Usage(
            prompt_tokens=_sum(self.prompt_tokens, other.prompt_tokens),
            cached_tokens=_sum(self.cached_tokens, other.cached_tokens),
            output_tokens=_sum(self.output_tokens, other.output_tokens),
            reasoning_tokens=_sum(self.reasoning_tokens, other.reasoning_tokens),
        )

    @property
    def total_tokens(self) -> int:
        """Prompt and output together, of what is known."""
        return (self.prompt_tokens or 0) + (self.output_tokens or 0)


class Prices(Record):
    """US dollars for a million tokens. `cached` is the price of a prompt token that came from the cache."""

    prompt: float
    output: float
    cached: float | None = None

    def cost(self, usage: Usage) -> float:
        """What `usage` costs, in US dollars; an unknown count costs nothing."""
        cached = usage.cached_tokens or 0
        fresh = (usage.prompt_tokens or 0) - cached
        cached_price = self.prompt if self.cached is None else self.cached
        return (fresh * self.prompt + cached * cached_price + (usage.output_tokens or 0) * self.output) / 1e6


def _sum(left: int | None, right: int | None) -> int | None:
    return None if left is None and right is None else (left or 0) + (right or 0)
