"""The units, the largest first."""

SECONDS = {
    "w": 7 * 24 * 3600,
    "d": 24 * 3600,
    "h": 3600,
    "m": 60,
    "s": 1,
    "ms": 0.001,
}
"""How many seconds each unit has."""

LONG_NAMES = {
    "week": "w",
    "day": "d",
    "hour": "h",
    "minute": "m",
    "min": "m",
    "second": "s",
    "sec": "s",
}
"""Longer names, which may stand in the plural, and the units that they mean."""
