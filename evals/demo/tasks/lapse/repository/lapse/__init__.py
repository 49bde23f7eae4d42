"""Durations as people write them, to seconds and back."""

from lapse.formatting import format_duration
from lapse.parsing import DurationError, parse_duration

__all__ = ["DurationError", "format_duration", "parse_duration"]
