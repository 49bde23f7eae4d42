"""The model's answer to the terminus agent: what is understood of it, and what is said about the rest."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.terminus.protocol import LONGEST_WAIT, Command
from agent.terminus.reading import Reading, read_answer

LS: dict[str, Any] = {"keystrokes": "ls\n", "duration": 0.5}


def answer(*commands: Any, **fields: Any) -> dict[str, Any]:
    return {"analysis": "a {brace", "plan": 'a "quote"', "commands": list(commands), **fields}


def read(value: Any, **settings: bool) -> Reading:
    return read_answer(json.dumps(value), **settings)


def test_an_answer_as_it_should_be_is_taken_without_a_word() -> None:
    reading = read(answer(LS, {"keystrokes": "C-c", "duration": 2}, task_complete=True))
    assert (reading.problem, reading.warnings) == ("", ())
    assert reading.answer is not None
    assert reading.answer.commands == [
        Command(keystrokes="ls\n", duration=0.5),
        Command(keystrokes="C-c", duration=2.0),
    ]
    assert reading.answer.task_complete


@pytest.mark.parametrize(
    ("before", "after", "warnings"),
    [
        ("", "\n", []),
        ("Let me look.\n", "", ["there was other text before the JSON object"]),
        ('A set {x}, a "word\n```json\n', "", ["there was other text before the JSON object"]),
        ("", "\n```\nDone.", ["there was other text after the JSON object, which was not read"]),
        ('{"not": "it"} ', "", ["there was other text before the JSON object"]),
        (
            "",
            json.dumps(answer(task_complete=True)),
            ["there was other text after the JSON object, which was not read"],
        ),
    ],
)
def test_the_object_is_found_in_other_text(before: str, after: str, warnings: list[str]) -> None:
    reading = read_answer(before + json.dumps(answer(LS), indent=2) + after)
    assert reading.answer is not None
    assert reading.answer.commands == [Command(**LS)]
    assert not reading.answer.task_complete
    assert list(reading.warnings) == warnings


@pytest.mark.parametrize(
    ("command", "duration", "warned"),
    [
        ({}, 1.0, "`duration` is missing"),
        ({"duration": "5"}, 1.0, "`duration` is no number"),
        ({"duration": None}, 1.0, "`duration` is no number"),
        ({"duration": True}, 1.0, "`duration` is no number"),
        ({"duration": float("nan")}, 1.0, "`duration` is no number"),
        ({"duration": 3600}, LONGEST_WAIT, ""),
        ({"duration": float("inf")}, LONGEST_WAIT, ""),
        ({"duration": 10**300 * 10**300}, LONGEST_WAIT, ""),
        ({"duration": -3}, 0.0, ""),
        ({"duration": 2, "wait": 9}, 2.0, "command 1: there is no field wait"),
    ],
)
def test_a_wait_is_a_number_of_seconds_up_to_the_longest(command: dict[str, Any], duration: float, warned: str) -> None:
    reading = read(answer({"keystrokes": "x\n", **command}))
    assert reading.answer is not None
    assert reading.answer.commands[0].duration == duration
    assert warned in "\n".join(reading.warnings)
    assert bool(warned) == bool(reading.warnings)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "there is no JSON object in it"),
        ("I am done.", "there is no JSON object in it"),
        ('{"cmd": "ls"}', "there is no JSON object in it that has any of the fields"),
        ("[1, 2]", "there is no JSON object in it"),
        ('{"analysis": "a"}', "plan: Field required; commands: Field required"),
        ('{"analysis": "a", "plan": "p", "commands": "ls"}', "commands: Input should be a valid list"),
        ('{"analysis": "a", "plan": "p", "commands": ["ls"]}', "commands.1: Input should be"),
        ('{"analysis": "a", "plan": "p", "commands": [{"duration": 1}]}', "commands.1.keystrokes: Field required"),
        ('{"analysis": "a", "plan": "p", "commands": [{"keystrokes": 1}]}', "commands.1.keystrokes: Input should be"),
        ('{"analysis": "a\nb", "plan": "p", "commands": []}', "the JSON is not valid: Invalid control character"),
        ('{"analysis": "a" "plan": "p"}', "near"),
        ('{"analysis": "it stops he', "the JSON is not valid: Unterminated string"),
        ('{"analysis": ' + "9" * 5000 + "}", "the JSON cannot be read"),
        ('{"analysis":' * 200_000, "the JSON"),
        ('{"analysis":' + "[" * 200_000, "the JSON cannot be read"),
    ],
)
def test_what_cannot_be_read_says_what_is_wrong(text: str, problem: str) -> None:
    reading = read_answer(text)
    assert reading.answer is None
    assert problem in reading.problem
    assert len(reading.problem) < 400


@pytest.mark.parametrize("missing", ["}", "]}", '"duration": 0.5}]}', "}]}"])
def test_missing_brackets_are_added_and_that_is_said_unless_the_answer_was_cut(missing: str) -> None:
    whole = '{"analysis": "a}", "plan": "p", "commands": [{"keystrokes": "ls\\n", "duration": 0.5}]}'
    text = "```\n" + whole.removesuffix(missing).rstrip(", ")
    reading = read_answer(text + "\n```\n")
    assert reading.answer is not None
    assert reading.answer.commands[0].keystrokes == "ls\n"
    assert "was not complete" in reading.warnings[0]
    assert read_answer(text, cut=True).answer is None


def test_a_cut_answer_whose_object_is_whole_counts() -> None:
    reading = read_answer(json.dumps(answer(LS)) + " And now I will", cut=True)
    assert reading.answer is not None
    assert reading.warnings


@pytest.mark.parametrize(
    ("said", "complete", "warned"),
    [
        (True, True, False),
        ("True", True, False),
        ("yes", True, False),
        ("no", False, False),
        (None, False, False),
        (1, True, True),
        ([], False, True),
    ],
)
def test_completion_is_understood_as_terminus_2_does(said: Any, complete: bool, warned: bool) -> None:
    reading = read(answer(task_complete=said))
    assert reading.answer is not None
    assert reading.answer.task_complete is complete
    assert bool(reading.warnings) is warned


def test_wrong_commands_do_not_take_back_that_the_task_is_complete() -> None:
    reading = read(answer({"keys": "x"}, task_complete=True))
    assert reading.answer is not None
    assert (reading.answer.commands, reading.answer.task_complete) == ([], True)
    assert "commands.1.keystrokes: Field required" in reading.warnings[-1]


def test_order_kinds_and_joined_lines_are_complained_about() -> None:
    value = {"plan": ["p"], "analysis": "a", "commands": [{"keystrokes": "cd", "duration": 0}, LS]}
    reading = read(value)
    assert reading.answer is not None
    assert reading.answer.plan == '["p"]'
    assert [warning.partition(" ")[0] for warning in reading.warnings] == ["the", "`plan`", "command"]
    assert "on the same line" in reading.warnings[-1]
    assert read(answer({"keystrokes": "C-c", "duration": 0}, {"keystrokes": "", "duration": 0}, LS)).warnings == ()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
_COMMANDS = st.lists(
    st.fixed_dictionaries({"keystrokes": st.text()}, optional={"duration": st.floats(0, 60)}), max_size=4
)


@settings(deadline=None)
@given(
    st.text() | st.lists(st.sampled_from([*'{}[]",:', '{"', "commands", "analysis", "plan", "\\"])).map("".join),
    st.booleans(),
)
def test_whatever_comes_there_is_an_answer_or_a_reason(text: str, cut: bool) -> None:
    reading = read_answer(text, cut=cut)
    assert (reading.answer is None) == bool(reading.problem)


@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(["analysis", "plan", "commands", "task_complete"], _JSON)))
def test_whatever_the_fields_hold_there_is_an_answer_or_a_reason(value: dict[str, Any]) -> None:
    reading = read(value)
    assert (reading.answer is None) == bool(reading.problem)


@settings(deadline=None)
@given(_COMMANDS, st.text(alphabet=st.characters(exclude_characters="{}")), st.text())
def test_no_key_is_lost_or_changed_whatever_stands_around(
    commands: list[dict[str, Any]], before: str, after: str
) -> None:
    reading = read_answer(before + json.dumps(answer(*commands)) + after)
    assert reading.answer is not None
    assert [command.keystrokes for command in reading.answer.commands] == [each["keystrokes"] for each in commands]
    assert [command.duration for command in reading.answer.commands] == [each.get("duration", 1.0) for each in commands]
