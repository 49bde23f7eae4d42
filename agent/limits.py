"""What one task may spend, and when it is spent."""

from dataclasses import dataclass, field

from results.records.manifest import LimitsDescription
from results.records.outcome import Exit
from results.records.usage import Prices, Usage


@dataclass
class Budget:
    """The limits of one task and what has been spent of them.

    Raises ValueError where a limit on cost is set and no price is known: it could never fire.
    """

    limits: LimitsDescription
    prices: Prices | None = None
    steps: int = 0
    usage: Usage = field(default_factory=Usage)
    model_seconds: float = 0.0
    """For how long responses were waited for, those that failed included."""

    def __post_init__(self) -> None:
        if self.limits.cost is not None and self.prices is None:
            raise ValueError(
                "a limit on cost needs the price of the model's tokens (--price), or that of the hardware "
                "(--watts with --kwh-price, or --hour-price)"
            )

    def count_response(self, usage: Usage, seconds: float) -> None:
        """A step was made."""
        self.steps += 1
        self.count_failure(usage, seconds)

    def count_failure(self, usage: Usage, seconds: float) -> None:
        """A request came to no step: a failure, a summary, a turn that is asked for again.

        One without counts is remembered as such: it need not have been free.
        """
        silent = usage.prompt_tokens is None or usage.output_tokens is None
        self.usage += usage + Usage(unreported=1) if silent and not usage.unreported else usage
        self.model_seconds += seconds

    @property
    def cost(self) -> float | None:
        """US dollars spent; None when the price is unknown, or a count that decides about it."""
        return self.prices.cost(self.usage, self.model_seconds) if self.prices else None

    @property
    def is_blind(self) -> bool:
        """Whether there is a limit on what the server does not tell, which could never fire."""
        needs_tokens = self.limits.tokens is not None
        needs_tokens |= self.limits.cost is not None and self.prices is not None and self.prices.prompt is not None
        return needs_tokens and self.steps > 0 and self.usage.prompt_tokens is None and self.usage.output_tokens is None

    def exceeded(self) -> tuple[Exit, str] | None:
        """The limit that forbids another step, with a sentence; None while there is room."""
        limits = self.limits
        if limits.steps is not None and self.steps >= limits.steps:
            return "limit:steps", f"the limit of {limits.steps} steps was reached"
        if limits.tokens is not None and self.usage.total_tokens >= limits.tokens:
            return "limit:tokens", f"the limit of {limits.tokens} tokens was reached"
        if limits.cost is not None and self._spent_at_most() >= limits.cost:
            return "limit:cost", f"the limit of ${limits.cost:g} was reached"
        return None

    def _spent_at_most(self) -> float:
        """What a limit has to reckon with: the dearest reading of the counts, as far as there is one."""
        if self.prices is None:
            return 0.0
        low, high = self.prices.bounds(self.usage, self.model_seconds)
        return low if high is None else high
