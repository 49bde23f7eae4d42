"""From text to seconds."""

import re

from lapse.units import LONG_NAMES, SECONDS

_UNITS = "|".join([*(f"{name}s?" for name in LONG_NAMES), *SECONDS])
_PART = re.compile(rf"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>{_UNITS})")


class DurationError(ValueError):
    """The text holds no duration."""


def parse_duration(text):
    """Return the seconds in `text`, such as "1h30m", "2.5 days" or "1d 4h".

    Parts add up, in any order. Raises DurationError when there is none.
    """
    parts = list(_PART.finditer(text.lower()))
    if not parts:
        raise DurationError(f"no duration in {text!r}")
    return sum(float(part["number"]) * _seconds(part["unit"]) for part in parts)


def _seconds(unit):
    return SECONDS[LONG_NAMES.get(unit.rstrip("s"), unit)]
