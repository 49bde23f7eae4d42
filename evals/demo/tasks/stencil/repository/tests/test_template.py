import pytest

from stencil import MissingValueError, Template, TemplateError


def test_a_name_is_replaced_by_its_value():
    assert Template("Hello, {{ name }}!").render(name="Ada") == "Hello, Ada!"


def test_spaces_around_the_name_do_not_matter():
    assert Template("{{a}}{{ b }}{{  c  }}").render(a=1, b=2, c=3) == "123"


def test_a_name_may_come_twice():
    assert Template("{{ x }} and {{ x }}").render(x="again") == "again and again"


def test_text_without_placeholders_stays():
    assert Template("{ not } {one}").render() == "{ not } {one}"


def test_names_are_listed_once():
    assert Template("{{ b }} {{ a }} {{ b | upper }}").names == ["b", "a"]


def test_a_missing_value_is_named():
    with pytest.raises(MissingValueError, match="'port'"):
        Template("{{ port }}").render(host="localhost")


def test_an_unknown_filter_is_named():
    with pytest.raises(TemplateError, match="'shout'"):
        Template("{{ x | shout }}").render(x="hey")
