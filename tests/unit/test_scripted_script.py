"""A script that loads can be played; one that cannot says where it is wrong."""

import re
from pathlib import Path

import pytest

from agent.scripted.script import FaultEntry, HttpFault, Reply, Script, ScriptError, load_script

DOCUMENT = Path(__file__).parents[2] / "docs" / "scripted-backend.md"

MINIMAL = """
scripted: small
conversations:
  - replies:
      - content: Hello.
"""


@pytest.fixture
def script_file(tmp_path: Path) -> Path:
    return tmp_path / "small.yaml"


def load(file: Path, text: str) -> Script:
    file.write_text(text, encoding="utf-8")
    return load_script(file)


def test_minimal_script_has_the_documented_defaults(script_file: Path):
    script = load(script_file, MINIMAL)
    assert script.model == "scripted/small"
    assert script.context_window == 262_144
    assert script.reasoning_field == "reasoning_content"
    assert (script.first_token_delay, script.token_delay) == (0.0, 0.0)


def test_example_in_the_documentation_is_a_script(script_file: Path):
    example = re.search(r"```yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    script = load(script_file, example.group(1))
    slugify, counting, fallback = script.conversations
    assert [type(entry) for entry in slugify.replies] == [Reply, FaultEntry, Reply, Reply]
    assert script.conversation_for("Please mend slugify().") is slugify
    assert script.conversation_for("Count to 17") is counting
    assert script.conversation_for("Do not count to 17") is fallback


def test_first_match_wins_and_the_fallback_is_asked_last_wherever_it_stands(script_file: Path):
    script = load(
        script_file,
        """
scripted: order
conversations:
  - replies: [{content: fallback}]
  - {when: red, replies: [{content: first}]}
  - {when: red car, replies: [{content: second}]}
""",
    )
    fallback, first, _ = script.conversations
    assert script.conversation_for("a red car") is first
    assert script.conversation_for("a blue car") is fallback


def test_no_match_and_no_fallback_is_none(script_file: Path):
    script = load(script_file, "{scripted: x, conversations: [{when: red, replies: [{content: a}]}]}")
    assert script.conversation_for("blue") is None


def test_replies_are_numbered_without_the_faults_and_faults_belong_to_the_reply_after_them(script_file: Path):
    script = load(
        script_file,
        """
scripted: faults
conversations:
  - replies:
      - fault: {status: 500}
      - content: one
      - fault: {stall: 1}
        times: 3
      - fault: {break_stream: cut}
      - content: two
""",
    )
    (conversation,) = script.conversations
    assert [reply.content for number in (1, 2) if (reply := conversation.reply(number))] == ["one", "two"]
    assert conversation.reply(3) is None
    assert [place for place, _ in conversation.faults_before(1)] == [0]
    assert [(place, entry.times) for place, entry in conversation.faults_before(2)] == [(2, 3), (3, 1)]
    assert list(conversation.faults_before(3)) == []
    (_, entry), *_ = conversation.faults_before(1)
    assert entry.fault == HttpFault(status=500)


def test_repeat_last_has_no_end(script_file: Path):
    script = load(script_file, MINIMAL + "    repeat_last: true\n")
    reply = script.conversations[0].reply(1000)
    assert reply is not None
    assert reply.content == "Hello."


def test_arguments_are_a_mapping_in_its_own_order_or_text_as_it_is(script_file: Path):
    script = load(
        script_file,
        """
scripted: arguments
conversations:
  - replies:
      - tool_calls:
          - {name: edit, arguments: {path: ü.py, count: 2, all: true}}
          - {name: edit, arguments: '{"path": '}
          - {name: done}
""",
    )
    reply = script.conversations[0].reply(1)
    assert reply is not None
    assert [call.arguments_json for call in reply.tool_calls] == [
        '{"path": "ü.py", "count": 2, "all": true}',
        '{"path": ',
        "{}",
    ]


def test_finish_reason_follows_from_the_reply_unless_it_is_given():
    call = {"name": "bash", "arguments": "{}"}
    assert Reply.model_validate({"content": "x"}).finished_by == "stop"
    assert Reply.model_validate({"tool_calls": [call]}).finished_by == "tool_calls"
    assert Reply.model_validate({"tool_calls": [call], "finish_reason": "length"}).finished_by == "length"


@pytest.mark.parametrize(
    ("conversation", "expected"),
    [
        ("replies: [{contents: a}]", r"at conversations\[0\]\.replies\[0\]\.contents: .*no such key"),
        ("replies: [{tool_calls: [{arguments: {}}]}]", r"replies\[0\]\.tool_calls\[0\]\.name: Field required"),
        ("replies: [{tool_calls: [{name: a, arguments: {day: 2026-01-01}}]}]", r"replies\[0\]\.tool_calls.*day"),
        ("replies: [{fault: {status: 200}}]", r"replies\[0\]\.fault\.status: .*400"),
        ("replies: [{fault: {stal: 3}}]", r"replies\[0\]\.fault\.stal: .*no such key"),
        ("replies: [{fault: {break_stream: maybe}}]", r"replies\[0\]\.fault\.break_stream: .*cut"),
        ("replies: [{fault: {status: 500}, content: a}]", r"replies\[0\]\.content: .*no such key"),
        ("replies: []", r"conversations\[0\]\.replies: .*at least 1"),
        ("replies: [null]", r"conversations\[0\]\.replies\[0\]: "),
        ("{when: a, when_matches: b, replies: [{}]}", r"conversations\[0\]: .*exclude each other"),
        ("{when_matches: '(', replies: [{}]}", r"conversations\[0\]: .*no regular expression"),
        ("{repeat_last: true, replies: [{fault: {status: 500}}]}", r"conversations\[0\]: `repeat_last` needs a reply"),
        ("{replies: [{}]}, {replies: [{}]}", r"the top level: .*fallback"),
    ],
)
def test_a_mistake_is_a_sentence_with_the_file_and_the_key(script_file: Path, conversation: str, expected: str):
    with pytest.raises(ScriptError) as caught:
        load(script_file, f"scripted: x\nconversations: [{conversation}]")
    assert str(script_file) in str(caught.value)
    assert re.search(expected, str(caught.value)), str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("scripted: 7\nconversations: [{replies: [{}]}]", "at scripted: .*string"),
        ("conversations: [{replies: [{}]}]", "at scripted: Field required"),
        ("- a\n- b", "no mapping"),
        ("", "no mapping"),
        ("a: [", "no YAML"),
    ],
)
def test_a_file_that_is_no_script_is_a_sentence(script_file: Path, text: str, expected: str):
    with pytest.raises(ScriptError, match=expected):
        load(script_file, text)


def test_every_mistake_is_named_at_once(script_file: Path):
    with pytest.raises(ScriptError, match=r"context_window.*conversations\[0\]\.replies\[0\]\.kontent"):
        load(script_file, "{scripted: x, context_window: many, conversations: [{replies: [{kontent: a}]}]}")


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path: Path):
    with pytest.raises(ScriptError, match=r"missing\.yaml cannot be read: No such file"):
        load_script(tmp_path / "missing.yaml")
    with pytest.raises(ScriptError, match="cannot be read: Is a directory"):
        load_script(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"scripted: \xe4")
    with pytest.raises(ScriptError, match=r"latin\.yaml is no UTF-8"):
        load_script(tmp_path / "latin.yaml")
