"""A response that is not streamed, as servers were seen to send one."""

from typing import Any

import pytest

from agent.dialects.registry import load_dialect
from agent.stream import TurnAssembler
from agent.turn import AssistantTurn, ToolCall
from results.records.usage import Usage

GENERIC = load_dialect("generic")
NO_MESSAGE: list[Any] = [{}, {"choices": []}, {"choices": [{}]}, {"choices": [{"message": "x"}]}, 7]


def whole(message: object, finish: str | None = "stop", **fields: Any) -> AssistantTurn:
    assembler = TurnAssembler(GENERIC)
    assembler.add_whole({"choices": [{"index": 0, "message": message, "finish_reason": finish}], **fields})
    assert assembler.is_complete
    return assembler.turn()


class TestWholeResponses:
    def test_as_llama_server_sends_it(self) -> None:
        function = {"name": "read_file", "arguments": '{"path":"src/app.py"}'}
        message = {
            "role": "assistant",
            "content": "Let me read it.\n\n",
            "reasoning_content": "I should look.\n",
            "tool_calls": [{"type": "function", "function": function, "id": "B0J3"}],
        }
        turn = whole(message, "tool_calls", usage={"prompt_tokens": 683, "completion_tokens": 8})
        assert (turn.reasoning, turn.reasoning_field) == ("I should look.\n", "reasoning_content")
        assert (turn.content, turn.finish_reason) == ("Let me read it.\n\n", "tool_calls")
        assert turn.tool_calls == (ToolCall("B0J3", "read_file", '{"path":"src/app.py"}'),)
        assert turn.usage == Usage(prompt_tokens=683, output_tokens=8)

    def test_as_vllm_sends_it(self) -> None:
        message: Any = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [], "reasoning": "Hm.\n"}
        turn = whole(message)
        assert (turn.reasoning, turn.reasoning_field, turn.content) == ("Hm.\n", "reasoning", None)

    @pytest.mark.parametrize("index", [None, 0])
    @pytest.mark.parametrize("call_id", [None, "same"])
    def test_every_call_in_it_is_one_whatever_it_says_of_itself(self, index: int | None, call_id: str | None) -> None:
        written = [{"index": index, "id": call_id, "function": {"name": "bash", "arguments": "{"}}] * 3
        assert [call.arguments for call in whole({"tool_calls": written}).tool_calls] == ["{"] * 3

    def test_it_is_complete_without_a_finish_reason(self) -> None:
        assert whole({"content": "x"}, None) == AssistantTurn(content="x")

    @pytest.mark.parametrize("answer", NO_MESSAGE)
    def test_what_holds_no_message_is_an_error(self, answer: object) -> None:
        with pytest.raises(ValueError, match=r"choices|the response|the message"):
            TurnAssembler(GENERIC).add_whole(answer)
