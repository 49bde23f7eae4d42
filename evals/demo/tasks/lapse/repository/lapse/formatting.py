"""From seconds to text."""

from lapse.units import SECONDS


def format_duration(seconds):
    """Return `seconds` as people write them, such as "1h30m"; anything below a millisecond is rounded."""
    rest = round(seconds * 1000)
    text = ""
    for unit, size in SECONDS.items():
        count, rest = divmod(rest, round(size * 1000))
        if count:
            text += f"{count}{unit}"
    return text or "0s"
