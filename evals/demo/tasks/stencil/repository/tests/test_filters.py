import pytest

from stencil import Template


@pytest.mark.parametrize(
    ("name", "expected"),
    [("upper", " ADA "), ("lower", " ada "), ("title", " Ada "), ("trim", "aDa"), ("quote", '" aDa "')],
    ids=["upper", "lower", "title", "trim", "quote"],
)
def test_filters(name, expected):
    assert Template("{{ x | " + name + " }}").render(x=" aDa ") == expected


def test_the_same_name_with_and_without_a_filter():
    assert Template("{{ x }} {{ x | upper }}").render(x="ada") == "ada ADA"
