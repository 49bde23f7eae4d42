"""Names of toolsets: one spelling for each set, one order of its tools, and a word on what is none."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.toolset import ADDITIONS, DEFAULT_TOOLSET, definitions, make_toolset, toolset_name, toolset_sha256


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("bash", "bash"),
        ("bash+editor", "bash+editor"),
        ("editor+bash", "bash+editor"),
        ("editor", "bash+editor"),
        ("editor-strings", "editor-strings"),
        ("bash+editor-strings", "editor-strings"),
        ("+search", "bash+editor+search"),
        ("search", "bash+editor+search"),
        ("submit", "bash+editor+submit"),
        ("bash+search", "bash+search"),
        ("submit+todo+bash", "bash+todo+submit"),
        ("todo+editor-strings+search", "editor-strings+search+todo"),
        ("+submit+todo+vision+terminal+search", "bash+editor+search+terminal+vision+todo+submit"),
    ],
)
def test_each_set_has_one_spelling(typed: str, name: str) -> None:
    assert toolset_name(typed) == name
    assert toolset_name(name) == name


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("hammer", "there is no toolset 'hammer'; there are: bash, bash+editor or editor-strings; with +search"),
        ("", "there is no toolset ''; there are: "),
        ("+", "there is no toolset '+', for it has an empty part; there are: "),
        ("bash++search", "for it has an empty part"),
        ("bash+serach", "for there is no part 'serach' (did you mean search?); there are: "),
        ("Bash", "there is no toolset 'Bash' (did you mean bash?)"),
        ("bash+editor+editor", "has editor twice"),
        ("+editor", "has editor twice"),
        ("bash+todo+todo", "has todo twice"),
        ("bash+editor+editor-strings", "has two editors"),
        ("+editor-strings", "has two editors"),
    ],
)
def test_what_is_none_is_explained(typed: str, said: str) -> None:
    with pytest.raises(ValueError) as error:
        make_toolset(typed)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("name", "tools"),
    [
        ("bash", "bash"),
        ("bash+editor", "bash str_replace_editor"),
        ("editor-strings", "bash str_replace_editor"),
        (
            "submit+todo+vision+terminal+search",
            "bash str_replace_editor grep glob background terminal view_picture todo submit",
        ),
    ],
)
def test_the_tools_stand_in_one_order(name: str, tools: str) -> None:
    assert [tool.name for tool in make_toolset(name)] == tools.split()


@given(st.permutations(["bash", "editor", *ADDITIONS]), st.integers(1, 7))
def test_the_order_in_which_it_was_typed_makes_no_difference(parts: list[str], count: int) -> None:
    typed = parts[:count]
    assert toolset_name("+".join(typed)) == toolset_name("+".join(sorted(typed)))


def test_no_two_sets_look_the_same_to_the_model() -> None:
    additions = [chosen for count in range(3) for chosen in itertools.combinations(ADDITIONS, count)]
    names = ["+".join([base, *chosen]) for base in ("bash", DEFAULT_TOOLSET, "editor-strings") for chosen in additions]
    assert len({toolset_sha256(make_toolset(name)) for name in names}) == len(names)


def test_each_agent_has_tools_of_its_own() -> None:
    first, second = make_toolset("bash+editor"), make_toolset("bash+editor")
    assert all(one is not other for one, other in zip(first, second, strict=True))
    assert definitions(first) == definitions(second)
