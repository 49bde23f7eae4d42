"""A conversation in ATIF as the one that an agent goes on from."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.dialects.registry import load_dialect
from agent.earlier import EarlierTurn, EarlierWords, earlier_messages
from evals.atif.earlier import EarlierConversationError, read_earlier


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trajectory.json"


def document(*steps: dict[str, Any], **more: Any) -> str:
    numbered = [{"step_id": number, "message": "", **step} for number, step in enumerate(steps, 1)]
    return json.dumps(
        {"schema_version": "ATIF-v1.7", "agent": {"name": "a", "version": "1"}, "steps": numbered, **more}
    )


def call(call_id: str, **arguments: Any) -> dict[str, Any]:
    return {"tool_call_id": call_id, "function_name": "look", "arguments": arguments}


def test_turns_go_back_as_an_agents_own(path: Path) -> None:
    path.write_text(
        document(
            {"source": "system", "message": "Be brief."},
            {"source": "user", "message": [{"type": "text", "text": "Look"}, {"type": "text", "text": "twice."}]},
            {
                "source": "agent",
                "reasoning_content": "Two calls.",
                "tool_calls": [call("one", at="ä"), call("two")],
                "observation": {
                    "results": [
                        {"source_call_id": "one", "content": "seen"},
                        {"content": "The screen went dark."},
                    ]
                },
            },
            {"source": "agent", "message": "Done."},
        )
    )
    messages = earlier_messages(read_earlier(path), load_dialect("vllm"))
    assert [(message["role"], message["content"]) for message in messages] == [
        ("user", "Look\ntwice."),
        ("assistant", None),
        ("tool", "seen"),
        ("tool", "There is no record of what this call came to."),
        ("user", "The screen went dark."),
        ("assistant", "Done."),
    ]
    assert [one["function"] for one in messages[1]["tool_calls"]] == [
        {"name": "look", "arguments": '{"at": "ä"}'},
        {"name": "look", "arguments": "{}"},
    ]
    assert [message.get("tool_call_id") for message in messages[2:4]] == ["one", "two"]
    assert "Two calls." in messages[1].values()
    assert "reasoning_content" not in messages[5]


def test_a_turn_that_said_nothing_is_still_a_turn(path: Path) -> None:
    path.write_text(document({"source": "user", "message": "Hm?"}, {"source": "agent"}))
    words, turn = read_earlier(path)
    assert words == EarlierWords("Hm?")
    assert isinstance(turn, EarlierTurn)
    assert turn.turn.content == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "it is no trajectory in ATIF: "),
        ("{}", "it is no trajectory in ATIF: agent: "),
        (document({"source": "agent", "step_id": 2}), "step_id counts from 1"),
        (document({"source": "user"}, continued_trajectory_ref="next.json"), "it goes on in another document"),
        (
            document(
                {"source": "user", "message": [{"type": "image", "source": {"media_type": "image/png", "path": "a"}}]}
            ),
            "step 1 holds a picture",
        ),
    ],
)
def test_what_cannot_be_handed_on_is_refused(path: Path, text: str, reason: str) -> None:
    path.write_text(text)
    with pytest.raises(EarlierConversationError, match=reason):
        read_earlier(path)
