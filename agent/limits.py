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

    def __post_init__(self) -> None:
        if self.limits.cost is not None and self.prices is None:
            raise ValueError("a limit on cost needs the price of the model's tokens: give it with --price")

    @property
    def cost(self) -> float | None:
        """US dollars spent; None when the price is unknown."""
        return self.prices.cost(self.usage) if self.prices else None

    @property
    def is_blind(self) -> bool:
        """Whether there is a limit on what the server does not tell, which could never fire."""
        limited = self.limits.tokens is not None or self.limits.cost is not None
        return limited and self.steps > 0 and self.usage.prompt_tokens is None and self.usage.output_tokens is None

    def exceeded(self) -> tuple[Exit, str] | None:
        """The limit that forbids another step, with a sentence; None while there is room."""
        limits = self.limits
        if limits.steps is not None and self.steps >= limits.steps:
            return "limit:steps", f"the limit of {limits.steps} steps was reached"
        if limits.tokens is not None and self.usage.total_tokens >= limits.tokens:
            return "limit:tokens", f"the limit of {limits.tokens} tokens was reached"
        if limits.cost is not None and (self.cost or 0.0) >= limits.cost:
            return "limit:cost", f"the limit of ${limits.cost:g} was reached"
        return None
