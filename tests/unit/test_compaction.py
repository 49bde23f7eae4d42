"""A compaction keeps the end of a conversation byte for byte, and there stays one user message."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.compaction import beginning, new_segment
from agent.conversation import encode

Message = dict[str, Any]

HEAD: list[Message] = [{"role": "system", "content": "s"}, {"role": "user", "content": "Mend it."}]


def step(number: int, results: int = 1, size: int = 10) -> list[Message]:
    calls = [{"id": f"c{number}{n}", "type": "function", "function": {"name": "bash"}} for n in range(results)]
    turn = {"role": "assistant", "content": None, "reasoning": f"thought {number}", "tool_calls": calls}
    return [turn, *({"role": "tool", "tool_call_id": call["id"], "content": "r" * size} for call in calls)]


steps = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 300)), max_size=12).map(
    lambda shapes: [message for number, (results, size) in enumerate(shapes) for message in step(number, results, size)]
)


@given(steps, st.integers(0, 4_000))
def test_a_new_segment_is_always_a_conversation_that_servers_take(log: list[Message], room: int) -> None:
    segment = new_segment([*HEAD, *log], HEAD[1], "Half is done.", room)
    head, tail = segment.messages[:2], list(segment.messages[2:])
    assert [message["role"] for message in segment.messages].count("user") == 1
    assert head[0] == HEAD[0]
    assert head[1]["content"].startswith("Mend it.")
    assert head[1]["content"].endswith("Half is done.")
    assert tail == log[len(log) - len(tail) :]
    assert not tail or tail[0]["role"] == "assistant"
    assert len(tail) < len(log) or not log
    assert sum(len(encode(message)) for message in tail) <= room
    assert (segment.dropped, segment.kept) == (len(log) - len(tail), len(tail))


def test_as_much_is_kept_as_fits() -> None:
    log = [*step(1, size=5_000), *step(2), *step(3)]
    assert new_segment([*HEAD, *log], HEAD[1], "h", 2_000).messages[2:] == tuple(log[2:])


def test_a_second_compaction_does_not_repeat_the_first_handover() -> None:
    first = new_segment([*HEAD, *step(1)], HEAD[1], "first handover", 0)
    second = new_segment(list(first.messages), HEAD[1], "second handover", 0)
    assert "first handover" not in second.messages[1]["content"]
    assert "second handover" in second.messages[1]["content"]


def test_pictures_of_the_task_stay() -> None:
    task: Message = {"role": "user", "content": [{"type": "text", "text": "See."}, {"type": "image_url"}]}
    content = new_segment([HEAD[0], task, *step(1)], task, "h", 0).messages[1]["content"]
    assert content[:2] == task["content"]
    assert content[2]["text"].endswith("h")


@given(steps, st.floats(0, 0.99))
def test_the_beginning_ends_with_a_whole_step(log: list[Message], share: float) -> None:
    messages = [*HEAD, *log]
    kept = list(beginning(messages, share))
    assert len(kept) < len(messages) or not log
    assert kept == messages[: len(kept)]
    assert len(kept) >= 2
    if len(kept) < len(messages):
        assert messages[len(kept)]["role"] == "assistant"
