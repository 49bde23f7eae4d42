"""Ranges of dates. `end` belongs to the range; `step` leaves dates out."""

from datetime import timedelta

from calends.arithmetic import add_months


def daily(start, end, step=1):
    """Yield every day from `start` to `end`."""
    day = start
    while day <= end:
        yield day
        day += timedelta(days=step)


def weekly(start, end, step=1):
    """Yield the weekday of `start` in every week up to `end`."""
    day = start
    while day <= end:
        yield day
        day += timedelta(weeks=step)


def monthly(start, end, step=1):
    """Yield the day of `start` in every month up to `end`."""
    day = start
    while day <= end:
        yield day
        day = add_months(day, step)


def yearly(start, end, step=1):
    """Yield the day and month of `start` in every year up to `end`."""
    day = start
    while day <= end:
        yield day
        day = add_months(day, 12 * step)
