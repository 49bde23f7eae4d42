"""Every cause for which a prompt leaves the one before it, each on a small real conversation."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest
from prefix_desk import FORGET, TEMPLATE, TOOLS, Talk, call, echo, only, said

from agent.prefix.causes import Cause
from agent.prefix.renderers import LocalTemplate
from agent.prefix.report import REMEDIES

FIRST = said("Look first.\n", "Let me see.\n\n", call(command="ls"))
"""A turn with the white space that belongs to it: the proof that this server hands it on."""


@dataclass(frozen=True)
class Case:
    """A conversation that breaks, and what has to be said about it."""

    cause: Cause
    avoidable: bool
    message: int | None
    make: Callable[[Talk], None]
    template: tuple[str, str] | None = None
    """A change of the template, as text to find and text to put there."""
    names: tuple[str, ...] = ("reasoning_content", "reasoning")
    """Under which names the server reads thinking."""


def sent(received: str, back: str) -> Callable[[Talk], None]:
    """The model writes some arguments, and others go back."""

    def make(talk: Talk) -> None:
        turn = said("Look first.\n", "Let me see.\n\n", received)
        talk.turn(turn, back=echo(said("Look first.\n", "Let me see.\n\n", back)))

    return make


def written(reasoning: str, content: str | None, *arguments: str, finish: str = "stop") -> Callable[[Talk], None]:
    """The model writes something, and exactly that goes back."""

    def make(talk: Talk) -> None:
        talk.turn(FIRST)
        talk.turn(said(reasoning, content, *arguments, finish=finish))

    return make


def without_thinking(talk: Talk) -> None:
    back = echo(FIRST)
    del back["reasoning_content"], back["reasoning"]
    talk.turn(FIRST, back=back)


def without_older_thinking(talk: Talk) -> None:
    talk.turn(FIRST)
    talk.turn(FIRST)
    talk.ask(FIRST)
    talk.messages[2] = {**talk.messages[2], "reasoning_content": "", "reasoning": ""}


def under_one_name(talk: Talk) -> None:
    back = echo(FIRST)
    del back["reasoning_content"]
    talk.turn(FIRST, back=back)


def summarised(talk: Talk) -> None:
    talk.turn(FIRST, back={**echo(FIRST), "reasoning_content": "Looked.", "reasoning": "Looked."})


def trimmed_by_client(talk: Talk) -> None:
    turn = said("Look first.\n", "Done.\n")
    talk.turn(FIRST)
    talk.turn(turn, back={**echo(turn), "content": "Done."}, question="And now?")


def new_question_without_preserve(talk: Talk) -> None:
    talk.flags = FORGET
    talk.turn(FIRST)
    talk.turn(said("It is done.\n", "Done."), question="And now?")


def new_question_without_thinking(talk: Talk) -> None:
    talk.flags = {**FORGET, "enable_thinking": False}
    talk.turn(said(None, "Done."), question="And now?")


def call_within_thinking(talk: Talk) -> None:
    thinking = "Look.\n<tool_call>\n<function=bash>\n<parameter=command>\nls\n</parameter>\n</function>\n</tool_call>\n"
    recovered = echo(said("Look.\n", None, call(command="ls")))
    talk.turn(said(thinking, None), back=recovered)
    talk.messages.append({"role": "tool", "tool_call_id": "c0", "content": "ok"})


def call_within_text(talk: Talk) -> None:
    text = "Look.\n<tool_call><function=bash>\n<parameter=command>\nls\n</parameter>\n</function></tool_call>"
    talk.turn(said("Hm.\n", text), back=echo(said("Hm.\n", "Look.\n", call(command="ls"))))
    talk.messages.append({"role": "tool", "tool_call_id": "c0", "content": "ok"})


def clock_in_the_system_message(talk: Talk) -> None:
    talk.turn(FIRST)
    talk.messages[0] = {"role": "system", "content": "Be brief. It is 12:01."}


def tool_that_comes_late(talk: Talk) -> None:
    talk.turn(FIRST)
    talk.tools = [*TOOLS, {"type": "function", "function": {"name": "late"}}]


def tools_in_another_order(talk: Talk) -> None:
    talk.turn(FIRST)
    talk.tools = TOOLS[::-1]


def pruned_result(talk: Talk) -> None:
    talk.turn(FIRST)
    talk.turn(FIRST)
    talk.messages[3] = {**talk.messages[3], "content": "(left out)"}


def oldest_left_out(talk: Talk) -> None:
    talk.turn(FIRST)
    talk.turn(said("Look again.\n", "", call(command="pwd")))
    talk.turn(said("And again.\n", "", call(command="id")))
    del talk.messages[2:4]


def last_taken_back(talk: Talk) -> None:
    talk.turn(FIRST)
    talk.ask(FIRST)
    talk.messages = talk.messages[:2]


UNSLOTH = ("value | tojson", "value | string")
"""Unsloth's variant prints scalars as Python does."""

CASES = {
    "thinking is not sent back": Case("reasoning_dropped", True, 2, without_thinking),
    "older thinking is taken out later": Case("reasoning_dropped", True, 2, without_older_thinking),
    "the server reads another name": Case("reasoning_dropped", True, 2, under_one_name, names=("reasoning_content",)),
    "the template shows no thinking": Case(
        "reasoning_dropped", False, 2, lambda talk: talk.turn(FIRST), template=("(thinking | trim)", '""')
    ),
    "thinking is summarised": Case("reasoning_changed", True, 2, summarised),
    "the client trims": Case("trimmed_whitespace", True, 4, trimmed_by_client),
    "the client sorts arguments": Case(
        "arguments_reordered", True, 2, sent('{"path": "a", "command": "b"}', '{"command": "b", "path": "a"}')
    ),
    "the template sorts arguments": Case(
        "arguments_reordered",
        False,
        4,
        written("Hm.\n", "So:\n\n", '{"path": "a", "command": "b"}'),
        template=("call.arguments | items", "call.arguments | dictsort"),
    ),
    "a compact array": Case("array_spacing", False, 4, written("Hm.\n", "So:\n\n", '{"range":[10,40]}')),
    "a pretty-printed object": Case("array_spacing", False, 4, written("Hm.\n", "", '{"o": {\n  "a": 1\n}}')),
    "a nested word of JSON that is no boolean": Case(
        "array_spacing", False, 4, written("Hm.\n", "", '{"o":["True","it"]}')
    ),
    "Python's True within the arguments": Case(
        "python_boolean", False, 2, sent('{"all": True}', "{}")
    ),
    "the template writes True": Case(
        "python_boolean", False, 4, written("Hm.\n", "", '{"all": true}'), template=UNSLOTH
    ),
    "the template writes None": Case(
        "python_boolean", False, 4, written("Hm.\n", "", '{"all": null}'), template=UNSLOTH
    ),
    "the client spells a number anew": Case("number_rewritten", True, 2, sent('{"x": 1.0}', '{"x": 1}')),
    "the template spells a number anew": Case("number_rewritten", False, 4, written("Hm.\n", "", '{"x": 1e3}')),
    "the client strips a string": Case(
        "string_newline_stripped", True, 2, sent('{"text": "a\\n"}', '{"text": "a"}')
    ),
    "the template strips a string": Case(
        "string_newline_stripped",
        False,
        4,
        written("Hm.\n", "", '{"text": "\\na\\n"}'),
        template=("(value if value is string", "(value | trim if value is string"),
    ),
    "arguments that were cut off": Case("arguments_unreadable", False, 2, sent('{"command": "ls', "{}")),
    "a call within thinking": Case("call_moved_out_of_thinking", False, 2, call_within_thinking),
    "a call within the text": Case("call_moved_out_of_content", False, 2, call_within_text),
    "a clock in the system message": Case("system_changed", True, 0, clock_in_the_system_message),
    "a tool that comes late": Case("tools_changed", True, None, tool_that_comes_late),
    "tools in another order": Case("tools_changed", True, None, tools_in_another_order),
    "an old result is pruned": Case("history_edited", True, 3, pruned_result),
    "the oldest turn is left out": Case("history_edited", True, 2, oldest_left_out),
    "the last turn is taken back": Case("history_edited", True, 1, last_taken_back),
    "a new question without preserve_thinking": Case(
        "old_thinking_dropped_by_template", True, 2, new_question_without_preserve
    ),
    "a new question in a mode without thinking": Case(
        "old_thinking_dropped_by_template", True, 2, new_question_without_thinking
    ),
    "a template that always forgets": Case(
        "old_thinking_dropped_by_template",
        False,
        2,
        new_question_without_preserve,
        template=("preserve_thinking is true or", ""),
    ),
    "a line end too many behind thinking": Case("template_trims", False, 4, written("Hm.\n\n", "", call(command="x"))),
    "no line end behind thinking": Case("template_trims", False, 4, written("Hm.", "", call(command="x"))),
    "one line end before a call": Case("template_trims", False, 4, written("Hm.\n", "So:\n", call(command="x"))),
    "a line end behind the answer": Case("template_trims", False, 4, written("Hm.\n", "Done.\n")),
    "a tag within the answer": Case(
        "other", False, 4, written("Hm.\n", "One <b> more."), template=("{{- text -}}", "{{- text | escape -}}")
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_cause_is_named_with_its_message_and_who_can_avoid_it(case: Case, tmp_path: Path):
    talk = Talk()
    case.make(talk)
    divergence = await only(talk, renderer(case, tmp_path))
    assert divergence.cause == case.cause
    assert divergence.avoidable == case.avoidable
    assert divergence.message_index == case.message
    assert divergence.step == len(talk.exchanges)
    assert divergence.lost_characters > 0
    assert divergence.expected != divergence.found
    assert divergence.remedy


def renderer(case: Case, folder: Path) -> LocalTemplate:
    text = TEMPLATE.read_text("utf-8")
    if case.template is not None:
        assert case.template[0] in text
        text = text.replace(*case.template)
    (folder / "chat_template.jinja").write_text(text, "utf-8")
    return LocalTemplate(folder / "chat_template.jinja", case.names)


def test_every_cause_has_a_conversation_and_a_remedy():
    assert {case.cause for case in CASES.values()} == set(get_args(Cause))
    assert set(REMEDIES) == set(get_args(Cause))
    for case in CASES.values():
        assert REMEDIES[case.cause][0 if case.avoidable else 1]


async def test_the_excerpts_begin_a_little_before_the_difference_and_show_it():
    talk = Talk()
    sent('{"x": 1.50}', '{"x": 1.5}')(talk)
    divergence = await only(talk)
    shared = re.match(r".*<parameter=x>\\n1\.5", divergence.expected)
    assert shared
    assert divergence.found.startswith(shared[0])
    assert divergence.expected[shared.end() :].startswith("0\\n")
    assert divergence.found[shared.end() :].startswith("\\n")


async def test_losses_are_added_up_by_cause_and_told_in_tokens_where_the_server_counts():
    talk = Talk(flags=FORGET)
    for question in ("And?", "More?"):
        talk.ask(FIRST, tokens=100)
        talk.messages += [echo(FIRST), {"role": "tool", "tool_call_id": "c0", "content": "ok"}]
        talk.ask(said("So.\n", "Done."), tokens=200)
        talk.messages += [echo(said("So.\n", "Done.")), {"role": "user", "content": question}]
    report = await talk.audit()
    (total,) = report.totals
    assert total.cause == "old_thinking_dropped_by_template"
    assert total.times == 2
    assert total.lost_characters == sum(each.lost_characters for each in report.divergences)
    assert total.lost_tokens
    assert total.lost_tokens < total.lost_characters
    assert (report.thinking_turns, report.thinking_shown) == (4, 0)
