from datetime import date

import pytest

from calends import add_months, days_in_month


@pytest.mark.parametrize(("year", "month", "days"), [(2023, 2, 28), (2024, 2, 29), (2024, 4, 30), (2024, 12, 31)])
def test_days_in_month(year, month, days):
    assert days_in_month(year, month) == days


def test_months_are_added_across_the_year():
    assert add_months(date(2024, 11, 15), 3) == date(2025, 2, 15)


def test_months_can_be_taken_away():
    assert add_months(date(2024, 1, 15), -1) == date(2023, 12, 15)


def test_a_short_month_gives_its_last_day():
    assert add_months(date(2024, 1, 31), 1) == date(2024, 2, 29)
