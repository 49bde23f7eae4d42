"""Variables of Dockerfiles, set again by a shell: the values that Docker reads, and nothing is run for them."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.swebench.dockerfile_environment import assignments

NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True).map("V_{}".format)
VALUES = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=("Cs",)), max_size=20)

FOUR = {"V_A": "1", "V_B": "2", "V_C": "3", "V_D": "4"}


def environment(dockerfile: str, **before: str) -> dict[str, str]:
    """What a bash that runs the exports hands on."""
    script = "".join(f"{one.export}\n" for one in assignments(dockerfile)) + "env -0"
    done = subprocess.run(
        ["/bin/bash", "-c", script], env={"PATH": "/usr/bin:/bin", **before}, capture_output=True, check=True
    )
    assert done.stderr == b""
    found = dict(line.split("=", 1) for line in done.stdout.decode().split("\0") if line)
    return {name: value for name, value in found.items() if name.startswith("V_")}


@pytest.mark.parametrize(
    ("dockerfile", "found"),
    [
        ("ENV V_A=1", {"V_A": "1"}),
        ('  ENV V_A=1 V_B="a b"  V_C=\'{ "c": 1 }\'', {"V_A": "1", "V_B": "a b", "V_C": '{ "c": 1 }'}),
        ('ENV V_A="--tb=short -v --reruns=3"', {"V_A": "--tb=short -v --reruns=3"}),
        ("ENV V_A en_US.UTF-8", {"V_A": "en_US.UTF-8"}),
        ("ENV V_A\ta 'b  c' d=e", {"V_A": "a b  c d=e"}),
        ("ENV V_A=a\\ b V_B=\\$V_A V_C=", {"V_A": "a b", "V_B": "$V_A", "V_C": ""}),
        ("ENV V_A=1 \\\n  V_B=2 \\\n  # a comment\n\n  V_C=3\nENV V_D=4", FOUR),
        ("# ENV V_A=1\nRUN echo ENV V_A=1\nENVIRONMENT V_A=1\nENV V_B=#2", {"V_B": "#2"}),
        ("ENV V_A=1\nENV V_A=2", {"V_A": "2"}),
        ('ENV V_A=$V_BEFORE:x V_B="${V_BEFORE}y"', {"V_A": "a b:x", "V_B": "a by"}),
        ("ENV V_A='$V_BEFORE'", {"V_A": "$V_BEFORE"}),
        ("ENV V_A=${V_NONE:-b c}d V_B=${V_BEFORE:+e}", {"V_A": "b cd", "V_B": "e"}),
        ("ENV V_A=$(touch x) V_B=`id`;id", {"V_A": "$(touch", "V_B": "`id`;id"}),
        ("ENV V_A=a&b|c V_B=~/x", {"V_A": "a&b|c", "V_B": "~/x"}),
        ("ENV V_A='not ended", {"V_A": "not ended"}),
        ("ENV a.b=1 V_A=2", {"V_A": "2"}),
        ("ENV V_A\nENV\nENV \\", {}),
        ("ENV V_A=1 \\", {"V_A": "1"}),
    ],
)  # fmt: skip
def test_lines(dockerfile: str, found: dict[str, str]) -> None:
    before = {"V_BEFORE": "a b"}
    result = environment(dockerfile, **before)
    assert result.pop("V_BEFORE") == "a b"
    assert result == found


def double_quoted(value: str) -> str:
    return '"' + "".join(f"\\{one}" if one in '"$\\`' else one for one in value) + '"'


def single_quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(NAMES, VALUES, min_size=1, max_size=4),
    st.sampled_from([double_quoted, single_quoted]),
    st.booleans(),
)
def test_every_value_arrives(values: dict[str, str], quoted: "type[str]", in_one_line: bool) -> None:
    pairs = [f"{name}={quoted(value)}" for name, value in values.items()]
    dockerfile = "FROM base\nENV " + (" \\\n  " if in_one_line else "\nENV ").join(pairs) + "\nRUN true\n"
    assert environment(dockerfile) == values


@settings(max_examples=50, deadline=None)
@given(NAMES, VALUES)
def test_a_value_behind_a_blank_arrives(name: str, value: str) -> None:
    assert environment(f"ENV {name} {double_quoted(value)}\n") == {name: value}


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from(" \t\n\\\"'$`{}()=;&|<>*~#!ENVab_:-+"), max_size=60))
def test_no_text_makes_the_shell_run_anything(text: str) -> None:
    """Nor does one leave it with an error; with no program to be found, whatever ran would be one."""
    script = "".join(f"{one.export}\n" for one in assignments(f"ENV V_A={text}\n{text}"))
    done = subprocess.run(["/bin/bash", "-c", script], env={"PATH": "/none"}, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
