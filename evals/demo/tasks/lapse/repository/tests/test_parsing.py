import pytest

from lapse import DurationError, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86400),
        ("1w", 604800),
    ],
)
def test_single_units(text, seconds):
    assert parse_duration(text) == seconds


def test_parts_add_up():
    assert parse_duration("1h30m") == 5400
    assert parse_duration("1d 4h 10s") == 100810


def test_fractions():
    assert parse_duration("2.5h") == 9000


def test_long_names():
    assert parse_duration("2 weeks") == 1209600
    assert parse_duration("1 hour 15 min") == 4500


def test_case_does_not_matter():
    assert parse_duration("3 Hours") == 10800


def test_text_without_a_duration():
    with pytest.raises(DurationError, match="soon"):
        parse_duration("soon")
