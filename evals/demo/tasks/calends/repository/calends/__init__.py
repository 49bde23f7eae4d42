"""Dates that come again: every day, week, month or year."""

from calends.arithmetic import add_months, days_in_month
from calends.ranges import daily, monthly, weekly, yearly

__all__ = ["add_months", "daily", "days_in_month", "monthly", "weekly", "yearly"]
