"""Notices an agent that goes in circles: the same steps with the same results, or thinking that never ends.

Pure: what is done about it, a warning or an end as `limit:repeat` or `limit:thinking`, is the loop's business.
"""

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

_HEADER = re.compile(r"exit=(\S+) \d+\.\ds(?:\n|\Z)")
"""The first line of a result, as `tools.output.header` writes it: the seconds in it are never quite the same."""


@dataclass(frozen=True)
class RepetitionLimits:
    """How often the same may be done with the same result.

    qwen-code (0.15) stops after 5 calls that are the same. Here the results count as well, so that waiting for
    something goes on for as long as anything moves, and the model is told in time to do something else.
    """

    warning: int = 3
    """Repetitions from which on the model is warned."""
    end: int = 5
    """Repetitions at which its work ends."""
    longest_cycle: int = 3
    """Steps after which the same may begin again and still be noticed: run the test, edit, undo the edit."""


class RepeatGuard:
    """Told of every step of one agent, it says whether the agent repeats itself."""

    def __init__(self, limits: RepetitionLimits | None = None) -> None:
        self._limits = limits or RepetitionLimits()
        self._steps: deque[bytes] = deque(maxlen=self._limits.longest_cycle)
        self._same = dict.fromkeys(range(1, self._limits.longest_cycle + 1), 0)
        """For each length of a cycle, how many steps in a row were the same as the one that many steps before."""
        self._calls = 0
        """How many calls the last step had."""

    def add(self, calls: Sequence[tuple[str, str]], results: Sequence[str]) -> None:
        """Take a step: the name and the arguments of each call, and the texts of the results."""
        step = _digest(calls, results)
        for length in self._same:
            is_same = length <= len(self._steps) and self._steps[-length] == step
            self._same[length] = self._same[length] + 1 if is_same else 0
        self._steps.append(step)
        self._calls = len(calls)

    @property
    def cycle(self) -> int:
        """How many steps it is that are repeated."""
        return max(self._same, key=lambda length: (self._repetitions(length), -length))

    @property
    def repetitions(self) -> int:
        """How often in a row they were made; 1 while nothing is repeated."""
        return self._repetitions(self.cycle)

    @property
    def exceeded(self) -> bool:
        """Whether it is time to end."""
        return self.repetitions >= self._limits.end

    def warning(self) -> str | None:
        """What to tell the model with the results of the last step; None while there is nothing to tell.

        The results that `add` is given are those without it, or each would differ from the one before.
        """
        if self.repetitions < self._limits.warning:
            return None
        call = "this same call" if self._calls == 1 else "these same calls"
        what = f"{call} {self.repetitions} times with the same result"
        if self.cycle > 1:
            what = f"the same {self.cycle} steps {self.repetitions} times with the same results"
        return f"You have run {what}; once more will change nothing. Do something else, or end your work."

    def _repetitions(self, length: int) -> int:
        return self._same[length] // length + 1


@dataclass(frozen=True)
class ThinkingLimits:
    """When thinking counts as endless. Lengths are in characters, of which about four make a token.

    Ours: endless thinking is reported of Qwen3.x, depending on quantisation and penalties (omlx#934,
    lmstudio-bug-tracker#1913), but no thread says where to draw the line. These numbers leave tables, rules of dots
    and quoted logs alone.
    """

    longest_unit: int = 2_000
    """The longest text whose repetition is noticed."""
    repeated_length: int = 6_000
    """How much of the end of the thinking has to be one text again and again."""
    repetitions: int = 8
    """How often that text has to stand there; of a long one, more than `repeated_length` is needed."""
    longest: int | None = None
    """The longest thinking of one turn; None: any."""
    check_interval: int = 500
    """How much has to be added before it is looked at again."""


class EndlessThinkingError(Exception):
    """Thinking goes on without end; `reason` says how that shows."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ThinkingGuard:
    """Listens to the thinking of one turn while it is streamed."""

    def __init__(self, limits: ThinkingLimits | None = None) -> None:
        self._limits = limits or ThinkingLimits()
        # Whether a text has a period can only be seen from its last two: see `_period`.
        self._shortest = max(self._limits.repeated_length, 2 * self._limits.longest_unit)
        self._kept = max(self._shortest, self._limits.repetitions * self._limits.longest_unit)
        self._tail = ""
        self._new: list[str] = []
        self._new_length = 0
        self._length = 0

    def add(self, text: str) -> None:
        """Take the next piece. Raises EndlessThinkingError."""
        limits = self._limits
        self._length += len(text)
        if limits.longest is not None and self._length > limits.longest:
            message = f"the model thought for more than {limits.longest} characters"
            raise EndlessThinkingError(message)
        self._new.append(text)
        self._new_length += len(text)
        if self._new_length >= limits.check_interval:
            self._tail = (self._tail + "".join(self._new))[-self._kept :]
            self._new, self._new_length = [], 0
            self._check()

    def _check(self) -> None:
        if len(self._tail) < self._shortest:
            return
        period = _period(self._tail[::-1], self._limits.longest_unit)
        if period is None:
            return
        length = max(self._shortest, self._limits.repetitions * period)
        tail = self._tail[-length:]
        if len(tail) == length and tail[period:] == tail[:-period]:
            message = f"the model's thinking repeats the same {period} characters"
            raise EndlessThinkingError(message)


def _period(text: str, longest: int) -> int | None:
    """The one length, up to `longest`, that can be the shortest period of `text`; None where there is none.

    If `text` has a period of at most `longest`, then its first `longest` characters come again behind the shortest
    one, and not before (by the theorem of Fine and Wilf, an earlier place would be a shorter period). So it is
    enough to find them once, which takes linear time.
    """
    place = text.find(text[:longest], 1, 2 * longest)
    return None if place == -1 else place


def _digest(calls: Sequence[tuple[str, str]], results: Sequence[str]) -> bytes:
    told = [_HEADER.sub(r"exit=\1\n", result, count=1) if _HEADER.match(result) else result for result in results]
    return sha256(repr(([*calls], told)).encode()).digest()
