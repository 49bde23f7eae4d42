import pytest

from lapse import format_duration, parse_duration


def test_the_largest_units_come_first():
    assert format_duration(93784) == "1d2h3m4s"


def test_empty_units_are_left_out():
    assert format_duration(3605) == "1h5s"


def test_milliseconds():
    assert format_duration(1.5) == "1s500ms"


def test_nothing_is_zero_seconds():
    assert format_duration(0) == "0s"


@pytest.mark.parametrize("seconds", [1, 59, 60, 3599, 86400, 694861])
def test_what_is_formatted_can_be_parsed(seconds):
    assert parse_duration(format_duration(seconds)) == seconds
