"""What has scrolled off a screen and was not looked at yet: its beginning, its end, and how much is gone between."""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Scrolled:
    """Lines that have scrolled off, in order."""

    first: tuple[str, ...] = ()
    newest: tuple[str, ...] = ()
    lost_bytes: int = 0
    """How much was printed that is in neither: lines between the two, and what came too fast to be drawn."""

    @property
    def lines(self) -> list[str]:
        """Those that are kept."""
        return [*self.first, *self.newest]


class Scrollback:
    """Keeps the `first` lines and the `newest` ones since the last look, and counts what is between."""

    def __init__(self, *, newest: int, first: int = 0) -> None:
        self._most_first = first
        self._first: list[str] = []
        self._newest: deque[str] = deque(maxlen=newest)
        self._lost = 0

    def add(self, line: str) -> None:
        """Take a line."""
        if len(self._first) < self._most_first:
            self._first.append(line)
            return
        if len(self._newest) == self._newest.maxlen:
            self._lost += len(self._newest[0].encode("utf-8", "replace")) + 1
        self._newest.append(line)

    def lose(self, count: int) -> None:
        """Count bytes that never became lines."""
        self._lost += count

    def take(self) -> Scrolled:
        """Give what there is, and begin anew."""
        taken = Scrolled(tuple(self._first), tuple(self._newest), self._lost)
        self._first, self._lost = [], 0
        self._newest.clear()
        return taken
