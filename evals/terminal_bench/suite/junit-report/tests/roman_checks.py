"""What roman() has to return."""

import sys

sys.path.insert(0, "/app")


def test_units():
    from roman import roman

    assert [roman(number) for number in (1, 3, 4, 8, 9)] == ["I", "III", "IV", "VIII", "IX"]


def test_everything_at_once():
    from roman import roman

    assert [roman(number) for number in (1994, 3999)] == ["MCMXCIV", "MMMCMXCIX"]
