"""What the model is shown of the terminal: what is new since it looked last, or else the screen."""

from tools.output import neutralise
from tools.scrollback import Scrollback
from tools.terminal_screen import Screen

COLUMNS, ROWS = 160, 40
"""Those of Terminus-2."""
MOST_BYTES = 10_000
"""Of one look; of what is longer, the first and the last half of this are shown, as in Terminus-2."""
_HALF = MOST_BYTES // 2


def new_screen() -> Screen:
    """A screen that keeps all that can be shown of what scrolls off: a line is one byte at least, its end."""
    return Screen(COLUMNS, ROWS, Scrollback(first=_HALF, newest=_HALF))


def look(screen: Screen) -> str:
    """The new output, or the whole screen where nothing is new or all of it was drawn anew. It counts as seen then."""
    rows = screen.lines()
    known = screen.rows_as_before()
    scrolled = screen.take_scrolled()
    if scrolled.lines or scrolled.lost_bytes or 0 < known < len(rows):
        return f"New output of the terminal:\n{_shown([*scrolled.lines, *rows[known:]], scrolled.lost_bytes)}"
    return f"The terminal's screen now:\n{_shown(rows, 0)}"


def _shown(lines: list[str], lost: int) -> str:
    """The lines, cut in the middle where they are too long, with the number of all bytes that are not shown."""
    whole = "\n".join(lines).encode("utf-8", "replace")
    if len(whole) <= MOST_BYTES:
        remark = f"[{lost:,} bytes came too fast, and are not shown]\n" if lost else ""
        return remark + neutralise(whole.decode())
    first, last = (part.decode(errors="ignore") for part in (whole[:_HALF], whole[-_HALF:]))
    cut = len(whole) - len(first.encode()) - len(last.encode()) + lost
    return neutralise(f"{first}\n[{cut:,} bytes of output are cut here: {MOST_BYTES:,} are shown]\n{last}")
