"""A streamed response put together, in all the shapes in which servers were seen to send one."""

from typing import Any

import pytest

from agent.stream import TurnAssembler, read_usage
from agent.turn import AssistantTurn, ToolCall
from results.records.usage import Usage

USAGE = {
    "prompt_tokens": 683,
    "completion_tokens": 8,
    "prompt_tokens_details": {"cached_tokens": 640, "multimodal_tokens": None},
    "completion_tokens_details": {"reasoning_tokens": 1},
}


SILENT: list[Any] = [{}, {"choices": None}, {"choices": []}, {"choices": [{}]}, {"choices": [{"delta": None}]}]


def piece(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def call(index: int | None = None, call_id: str | None = None, name: str | None = None, arguments: Any = None) -> Any:
    function = {"name": name, "arguments": arguments}
    fields: dict[str, Any] = {"index": index, "id": call_id, "type": "function", "function": function}
    fields["function"] = {key: value for key, value in function.items() if value is not None}
    return piece(tool_calls=[{key: value for key, value in fields.items() if value is not None}])


def assemble(*chunks: object) -> AssistantTurn:
    assembler = TurnAssembler()
    for chunk in chunks:
        assembler.add(chunk)
    return assembler.turn()


def calls(*chunks: object) -> list[tuple[str, str, str]]:
    return [(each.id, each.name, each.arguments) for each in assemble(*chunks).tool_calls]


class TestText:
    def test_as_llama_server_sends_it(self) -> None:
        turn = assemble(
            piece(role="assistant", content=None),
            piece(reasoning_content="I should "),
            piece(reasoning_content="look.\n"),
            piece(content="Let me re"),
            piece(content="ad.\n\n"),
            piece("stop"),
        )
        assert (turn.reasoning, turn.reasoning_field) == ("I should look.\n", "reasoning_content")
        assert turn.content == "Let me read.\n\n"
        assert (turn.finish_reason, turn.is_cut) == ("stop", False)

    def test_as_vllm_sends_it(self) -> None:
        turn = assemble(
            piece(role="assistant", content=""), piece(reasoning="Hm."), piece(content="\n\nYes."), piece("stop")
        )
        assert (turn.reasoning, turn.reasoning_field, turn.content) == ("Hm.", "reasoning", "\n\nYes.")

    def test_what_does_not_come_is_none_and_what_comes_empty_is_empty(self) -> None:
        assert assemble(piece("stop")) == AssistantTurn(finish_reason="stop")
        turn = assemble(piece(content="", reasoning=""), piece("stop"))
        assert (turn.content, turn.reasoning, turn.reasoning_field) == ("", "", "reasoning")
        turn = assemble(piece(content=None, reasoning=None), piece("stop"))
        assert (turn.content, turn.reasoning, turn.reasoning_field) == (None, None, None)

    def test_the_same_thinking_under_both_names_is_taken_once(self) -> None:
        turn = assemble(piece(reasoning="a", reasoning_content="a"), piece(reasoning="b", reasoning_content="b"))
        assert (turn.reasoning, turn.reasoning_field) == ("ab", "reasoning_content")

    @pytest.mark.parametrize("other", [None, ""])
    def test_the_name_that_holds_nothing_hides_no_thinking(self, other: str | None) -> None:
        first = piece(role="assistant", content="", reasoning_content="")
        turn = assemble(first, piece(reasoning="a", reasoning_content=other), piece(reasoning="b"))
        assert (turn.reasoning, turn.reasoning_field) == ("ab", "reasoning")

    def test_a_character_cut_in_two_halves_is_whole_again(self) -> None:
        turn = assemble(
            piece(content="a\ud83d"),
            piece(content="\ude42b"),
            piece(reasoning="\ud83d"),
            piece(reasoning="\ude42"),
            call(0, "a", "bash", '{"a":"\ud83d'),
            call(0, arguments='\ude42"}'),
        )
        assert (turn.content, turn.reasoning, turn.tool_calls[0].arguments) == ("a🙂b", "🙂", '{"a":"🙂"}')

    def test_half_a_character_alone_is_kept_as_it_came(self) -> None:
        assert assemble(piece(content="a\ud83d"), piece(content="b")).content == "a\ud83db"

    def test_a_giant_chunk(self) -> None:
        assert assemble(piece(content="ü" * 5_000_000), piece("stop")).content == "ü" * 5_000_000


class TestCalls:
    def test_pieces_of_a_call_come_together(self) -> None:
        chunks = [call(0, "a", "bash", '{"comm'), call(0, arguments='and":'), call(0, arguments=' "ls"}')]
        assert calls(*chunks) == [("a", "bash", '{"command": "ls"}')]

    def test_parallel_calls_may_be_interleaved_and_keep_the_order_of_their_index(self) -> None:
        chunks = [
            call(1, "b", "two", "{"),
            call(0, "a", "one", "{"),
            call(1, arguments="}"),
            call(0, arguments='"x":1}'),
        ]
        assert calls(*chunks) == [("a", "one", '{"x":1}'), ("b", "two", "{}")]

    def test_two_calls_in_one_chunk(self) -> None:
        both = piece(
            tool_calls=[
                call(index, str(index), "bash", "{}")["choices"][0]["delta"]["tool_calls"][0] for index in (0, 1)
            ]
        )
        assert calls(both) == [("0", "bash", "{}"), ("1", "bash", "{}")]

    def test_id_and_name_repeated_in_every_piece(self) -> None:
        chunks = [call(0, "a", "bash", "{"), call(0, "a", "bash", '"x"'), call(0, "a", "bash", ":1}")]
        assert calls(*chunks) == [("a", "bash", '{"x":1}')]

    def test_a_new_id_with_every_piece_begins_no_new_call(self) -> None:
        chunks = [call(0, "a", "bash", "{"), call(0, "b", arguments='"x"'), call(0, "c", arguments=":1}")]
        assert calls(*chunks) == [("a", "bash", '{"x":1}')]

    def test_every_call_under_index_0(self) -> None:
        chunks = [call(0, "a", "bash", '{"x":1}'), call(0, "b", "bash", '{"x":'), call(0, arguments="2}")]
        assert calls(*chunks) == [("a", "bash", '{"x":1}'), ("b", "bash", '{"x":2}')]

    def test_without_an_index_the_id_tells_the_calls_apart(self) -> None:
        chunks = [
            call(None, "a", "bash", '{"x":'),
            call(None, arguments="1}"),
            call(None, "b", "bash", "{"),
            call(None, "b", arguments="}"),
        ]
        assert calls(*chunks) == [("a", "bash", '{"x":1}'), ("b", "bash", "{}")]

    def test_without_index_and_id_a_name_begins_a_call(self) -> None:
        chunks = [call(None, None, "bash", '{"x":'), call(None, arguments="1}"), call(None, None, "bash", "{}")]
        assert calls(*chunks) == [("", "bash", '{"x":1}'), ("", "bash", "{}")]

    def test_a_piece_without_any_beginning(self) -> None:
        assert calls(call(None, arguments="{}")) == [("", "", "{}")]

    def test_arguments_that_come_as_an_object(self) -> None:
        assert calls(call(0, "a", "bash", {"command": "ü"})) == [("a", "bash", '{"command": "ü"}')]

    def test_a_call_without_arguments(self) -> None:
        assert calls(call(0, "a", "bash")) == [("a", "bash", "")]

    @pytest.mark.parametrize("empty", [{"tool_calls": None}, {"tool_calls": []}])
    def test_no_calls(self, empty: dict[str, Any]) -> None:
        assert assemble(piece(**empty)).tool_calls == ()

    def test_a_turn_that_was_cut_keeps_half_a_call(self) -> None:
        turn = assemble(call(0, "a", "bash", '{"command": "l'), piece("length"))
        assert (turn.is_cut, turn.tool_calls) == (True, (ToolCall("a", "bash", '{"command": "l'),))


class TestUsage:
    WHOLE = Usage(prompt_tokens=683, cached_tokens=640, output_tokens=8, reasoning_tokens=1)

    @pytest.mark.parametrize(
        "chunks",
        [
            [piece("stop"), {"choices": [], "usage": USAGE}],
            [{**piece("stop"), "usage": USAGE}],
            [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}]}],
            [{**piece(), "usage": {"prompt_tokens": 683, "completion_tokens": 1}}, {**piece("stop"), "usage": USAGE}],
            [{**piece("stop"), "usage": USAGE}, {"choices": [], "usage": None}],
            [{**piece("stop"), "usage": USAGE}, {"usage": {}}],
        ],
        ids=["last-chunk", "finish-chunk", "choice", "every-chunk", "null-behind", "empty-behind"],
    )
    def test_is_found_wherever_it_stands(self, chunks: list[Any]) -> None:
        assert assemble(*chunks).usage == self.WHOLE

    def test_what_the_server_does_not_say_is_unknown(self) -> None:
        assert assemble(piece("stop")).usage == Usage()
        assert read_usage({"prompt_tokens": 0}) == Usage(prompt_tokens=0)
        assert read_usage({"prompt_tokens": 5, "prompt_tokens_details": None}) == Usage(prompt_tokens=5)

    @pytest.mark.parametrize(
        "odd", [{"prompt_tokens": "many"}, {"prompt_tokens": [1]}, "none", [1], {"prompt_tokens_details": 3}]
    )
    def test_an_odd_usage_costs_no_turn(self, odd: object) -> None:
        assert assemble({**piece("stop", content="x"), "usage": odd}).usage == Usage()

    @pytest.mark.parametrize(
        ("sent", "read"),
        [
            ({"reasoning_tokens": 4}, Usage(reasoning_tokens=4)),
            ({"prompt_cache_hit_tokens": 4}, Usage(cached_tokens=4)),
            ({"cached_tokens": 4}, Usage(cached_tokens=4)),
            ({"cached_tokens": 4, "prompt_tokens_details": {"cached_tokens": 0}}, Usage(cached_tokens=0)),
        ],
        ids=["sglang", "deepseek", "moonshot", "the-standard-wins"],
    )
    def test_dialects(self, sent: dict[str, Any], read: Usage) -> None:
        assert read_usage(sent) == read


class TestTheEnd:
    def test_a_turn_is_complete_with_its_finish_reason(self) -> None:
        assembler = TurnAssembler()
        assembler.add(piece(content="x"))
        assert not assembler.is_complete
        assembler.add(piece("stop"))
        assembler.add({"choices": [], "usage": USAGE})
        assembler.add(piece(None))
        assert (assembler.is_complete, assembler.finish_reason) == (True, "stop")

    @pytest.mark.parametrize("reason", ["abort", "error"])
    def test_a_turn_that_the_server_gave_up_is_not_complete(self, reason: str) -> None:
        assembler = TurnAssembler()
        assembler.add(piece(reason))
        assert not assembler.is_complete

    @pytest.mark.parametrize("chunk", SILENT)
    def test_chunks_that_say_nothing_are_passed_over(self, chunk: object) -> None:
        assert assemble(piece(content="x"), chunk, piece("stop")).content == "x"

    @pytest.mark.parametrize(
        "chunk",
        [
            None, 7, "text", [], {"choices": {}}, {"choices": [7]}, piece(content=["x"]), piece(content=7), piece(7),  # type: ignore[arg-type]
            piece(tool_calls={}), piece(tool_calls=[7]), call(0, "a", "bash", [1]), piece(tool_calls=[{"index": "x"}]),
        ],
    )  # fmt: skip
    def test_chunks_that_are_none_are_errors(self, chunk: object) -> None:
        with pytest.raises(ValueError, match=r": Input should be"):
            assemble(chunk)


def test_a_watcher_hears_every_piece_and_never_half_a_character() -> None:
    heard: list[tuple[str, str]] = []
    assembler = TurnAssembler(lambda kind, text: heard.append((kind, text)))
    for chunk in (piece(reasoning="a"), piece(content="b\ud83d"), call(0, "i", "bash", "{}"), piece("stop")):
        assembler.add(chunk)
    assert heard == [("reasoning", "a"), ("content", "b\ufffd"), ("tool_call", "{}")]
    assert assembler.turn().first_token_seconds is not None


def test_without_any_text_there_is_no_first_token() -> None:
    assert assemble(piece(role="assistant", content=""), piece("stop")).first_token_seconds is None
