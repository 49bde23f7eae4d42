"""Calls a function again when it fails."""

from encore.retry import retry
from encore.waiting import constant, exponential

__all__ = ["constant", "exponential", "retry"]
