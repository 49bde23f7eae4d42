"""What is shown of the place that an `old_str` was probably meant for."""

import pytest

from tools.editor_closest import Closest, find_closest
from tools.file_text import FileText

FILE = "import os\n\n\ndef first(x):\n    total = compute(x)\n    return total\n\n\ndef second(y):\n\treturn y  \n"

LINE_5 = "In line 5 the file has `    total = compute(x)`, old_str has "


def closest(old: str, text: str = FILE) -> Closest | None:
    return find_closest(FileText(text.encode()), old)


@pytest.mark.parametrize(
    ("old", "first", "difference"),
    [
        ("def first(x):\n\ttotal = sum(x)\n", 4, LINE_5 + "`\ttotal = sum(x)`."),
        ("def f(x):\n    return total", 5, LINE_5 + "`def f(x):`."),
        ("  total = compute(x)", 5, "In line 5 the file begins with 4 spaces, old_str with 2 spaces."),
        ("return total", 6, "In line 6 the file begins with 4 spaces, old_str with no whitespace."),
        ("def second(y):\n\treturn y", 9, "In line 10 the file ends with 2 spaces, old_str with no whitespace."),
        ("total  = compute(x)", 5, LINE_5 + "`total  = compute(x)`."),
        ("import os\nimport re", 1, "In line 2 the file has ``, old_str has `import re`."),
        ("def second(y):\n\treturn y  \nmore", 9, "The file ends there, and old_str goes on."),
        ("totals = compute(x)", 5, LINE_5 + "`totals = compute(x)`."),
    ],
)
def test_the_place_and_the_first_difference(old: str, first: int, difference: str) -> None:
    found = closest(old)
    assert found is not None
    assert (found.first, found.difference) == (first, difference)


def test_characters_that_look_alike_are_named() -> None:
    found = closest("print('don\u2019t  stop')", "print('don't  stop')\n")
    assert found is not None
    assert found.difference == (
        "In line 1 the file has `'` (U+0027, APOSTROPHE) at column 11, where old_str has `\u2019` "
        "(U+2019, RIGHT SINGLE QUOTATION MARK)."
    )
    found = closest("return first value", "return first\u00a0value\n")
    assert found is not None
    assert "the file has `\u00a0` (U+00A0, NO-BREAK SPACE) at column 13" in found.difference


def test_a_long_line_is_shown_around_the_difference() -> None:
    line = "value, " * 400
    found = closest(line + "END", line + "end" + line)
    assert found is not None
    assert len(found.difference) < 400
    assert "value, end" in found.difference
    assert "value, END" in found.difference


def test_nothing_similar_is_nothing() -> None:
    assert closest("completely different words here") is None
    assert closest("\n\n") is None


@pytest.mark.parametrize(
    ("text", "old"),
    [
        ("}\n" * 1_000_000, "}\n}\n]\n}"),
        ("a" * 2_000_000, "a" * 5_000 + "b"),
        (" " * 2_000_000, "foo bar baz"),
        ("\n" * 2_000_000, "foo\n\nbar"),
        ("ab cd ef\n" * 200_000, "  ab cd ef\n" * 300 + "zz"),
        ("x = 1\n" * 300_000, "x = 1 \n" * 20_000),
        ("", "x"),
    ],
)
def test_hostile_files_get_an_answer(text: str, old: str) -> None:
    found = closest(old, text)
    assert found is None or len(found.difference) < 1_000
