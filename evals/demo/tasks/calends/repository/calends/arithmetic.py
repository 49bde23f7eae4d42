"""Calculating with months, which differ in length."""

import calendar


def days_in_month(year, month):
    """Return how many days the month has."""
    return calendar.monthrange(year, month)[1]


def add_months(day, months):
    """Return the same day `months` later (or earlier), or the last day of that month when it is too short."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    month += 1
    return day.replace(year=year, month=month, day=min(day.day, days_in_month(year, month)))
