from datetime import date

from calends import daily, monthly, weekly, yearly


def test_daily_includes_both_ends():
    days = list(daily(date(2024, 2, 28), date(2024, 3, 1)))
    assert days == [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)]


def test_weekly_keeps_the_weekday():
    days = list(weekly(date(2024, 5, 6), date(2024, 6, 6), step=2))
    assert days == [date(2024, 5, 6), date(2024, 5, 20), date(2024, 6, 3)]


def test_monthly_keeps_the_day():
    days = list(monthly(date(2024, 11, 15), date(2025, 2, 14)))
    assert days == [date(2024, 11, 15), date(2024, 12, 15), date(2025, 1, 15)]


def test_yearly_keeps_the_day_and_the_month():
    days = list(yearly(date(2022, 7, 14), date(2024, 12, 31)))
    assert days == [date(2022, 7, 14), date(2023, 7, 14), date(2024, 7, 14)]


def test_a_range_that_ends_before_it_starts_is_empty():
    assert list(monthly(date(2024, 2, 1), date(2024, 1, 1))) == []
