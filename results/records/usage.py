"""Token counts, as the server reports them, and what they cost."""

from typing import NamedTuple

from pydantic import Field, model_validator

from results.records.base import Record


class Usage(Record):
    """Tokens of one response, or of many added up. None: the server did not say, which is never the same as 0.

    `prompt_tokens` includes `cached_tokens` (read from the cache) and `cache_write_tokens` (written to it);
    `output_tokens` includes `reasoning_tokens`.
    """

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_tokens: int | None = None
    unreported: int = 0
    """How many responses came without their counts: the sums here are then less than what was used."""

    def __add__(self, other: "Usage") -> "Usage":
        """Add up; a side that is unknown counts as nothing, and the sum is unknown only when both are."""
        return Usage(
            prompt_tokens=_sum(self.prompt_tokens, other.prompt_tokens),
            cached_tokens=_sum(self.cached_tokens, other.cached_tokens),
            output_tokens=_sum(self.output_tokens, other.output_tokens),
            reasoning_tokens=_sum(self.reasoning_tokens, other.reasoning_tokens),
            cache_write_tokens=_sum(self.cache_write_tokens, other.cache_write_tokens),
            unreported=self.unreported + other.unreported,
        )

    @property
    def total_tokens(self) -> int:
        """Prompt and output together, of what is known."""
        return (self.prompt_tokens or 0) + (self.output_tokens or 0)


class CostBounds(NamedTuple):
    """Between which US dollars a cost lies; `high` is None where there is no telling."""

    low: float
    high: float | None


class HardwareCost(Record):
    """What a machine of one's own costs while the model works: its energy, its hours, or both.

    Counted over the seconds in which a response is waited for; where several trials share the machine, each of them
    waits, so that the sum is more than what the machine took.
    """

    watts: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    kwh_price: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """US dollars for a kilowatt-hour."""
    hour_price: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """US dollars for an hour of the machine, its energy not included where `watts` is given."""

    @model_validator(mode="after")
    def _is_a_price(self) -> "HardwareCost":
        if (self.watts is None) != (self.kwh_price is None):
            raise ValueError("watts and the price of a kilowatt-hour only mean something together")
        if self.watts is None and self.hour_price is None:
            raise ValueError("hardware costs watts and the price of a kilowatt-hour, or the price of an hour")
        return self

    def cost(self, seconds: float) -> float:
        """What the model's seconds cost, in US dollars."""
        per_hour = (self.hour_price or 0.0) + (self.watts or 0.0) / 1000 * (self.kwh_price or 0.0)
        return seconds / 3600 * per_hour


class Prices(Record):
    """What a model costs: US dollars for a million tokens, or the hardware that it runs on, or both.

    `cached` is the price of a prompt token that came from the cache, `cache_write` of one that was written to it; each
    is `prompt` where nothing is said.
    """

    prompt: float | None = None
    output: float | None = None
    cached: float | None = None
    cache_write: float | None = None
    dated: str | None = None
    """The day on which these prices were read, `2026-11-22`; None for what a person states."""
    source: str | None = None
    """Where they stand."""
    hardware: HardwareCost | None = None

    @model_validator(mode="after")
    def _is_a_price(self) -> "Prices":
        if (self.prompt is None) != (self.output is None):
            raise ValueError("a price for tokens says what the prompt costs and what the output costs")
        if self.prompt is None and self.hardware is None:
            raise ValueError("a price is one for tokens, or one for hardware")
        return self

    def cost(self, usage: Usage, model_seconds: float | None = None) -> float | None:
        """What it costs, in US dollars; None where a count is unknown that decides about it."""
        bounds = self.bounds(usage, model_seconds)
        return bounds.low if bounds.low == bounds.high else None

    def bounds(self, usage: Usage, model_seconds: float | None = None) -> CostBounds:
        """Between what its cost lies: exact where every count is known that has a price of its own."""
        low, high = self._token_bounds(usage)
        if self.hardware is None:
            return CostBounds(low, high)
        if model_seconds is None:
            return CostBounds(low, None)
        spent = self.hardware.cost(model_seconds)
        return CostBounds(low + spent, None if high is None else high + spent)

    def _token_bounds(self, usage: Usage) -> CostBounds:
        if self.prompt is None or self.output is None:
            return CostBounds(0.0, 0.0)
        cached, written = usage.cached_tokens or 0, usage.cache_write_tokens or 0
        known = cached * self._or_prompt(self.cached) + written * self._or_prompt(self.cache_write)
        known += (usage.output_tokens or 0) * self.output
        # Of the rest of the prompt nobody says that it did not come from the cache, or go to it.
        rest = max(0, (usage.prompt_tokens or 0) - cached - written)
        rates = [self.prompt]
        rates += [self._or_prompt(self.cached)] if usage.cached_tokens is None else []
        rates += [self._or_prompt(self.cache_write)] if usage.cache_write_tokens is None else []
        told = usage.prompt_tokens is not None and usage.output_tokens is not None and not usage.unreported
        return CostBounds((known + rest * min(rates)) / 1e6, (known + rest * max(rates)) / 1e6 if told else None)

    def _or_prompt(self, price: float | None) -> float:
        return (self.prompt or 0.0) if price is None else price


def _sum(left: int | None, right: int | None) -> int | None:
    return None if left is None and right is None else (left or 0) + (right or 0)
