"""A streamed response put together, in all the shapes in which servers were seen to send one."""

from collections.abc import Mapping
from typing import Any

import pytest

from agent.dialects.behaviours.behaviour import Behaviour
from agent.dialects.dialect import Dialect, Reasoning, UsagePaths
from agent.dialects.registry import load_dialect
from agent.repetition import EndlessThinkingError
from agent.stream import TurnAssembler
from agent.turn import AssistantTurn, ToolCall
from results.records.usage import Usage

GENERIC = load_dialect("generic")
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


def assemble(*chunks: object, dialect: Dialect = GENERIC) -> AssistantTurn:
    assembler = TurnAssembler(dialect)
    for chunk in chunks:
        assembler.add(chunk)
    return assembler.turn()


def used(usage: object) -> Usage:
    return assemble({"choices": [], "usage": usage}).usage


def calls(*chunks: object) -> list[tuple[str, str, str]]:
    return [(each.id, each.name, each.arguments) for each in assemble(*chunks).tool_calls]


def test_an_object_of_arguments_is_all_of_them() -> None:
    pieces = call(0, "c", "bash", {"command": "ls"}), call(0, None, None, '{"comm'), call(0, None, None, 'and": "ls"}')
    assert calls(*pieces) == [("c", "bash", '{"command": "ls"}')]


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

    def test_thinking_is_read_where_the_dialect_says_and_nowhere_else(self) -> None:
        dialect = Dialect(name="own", title="one", reasoning=Reasoning(received=("thoughts",)))
        turn = assemble(piece(thoughts="a", reasoning="b"), piece(thoughts="c"), dialect=dialect)
        assert (turn.reasoning, turn.reasoning_field) == ("ac", "thoughts")

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

    def test_a_name_that_comes_in_parts_is_one_and_one_that_comes_again_is_not_two(self) -> None:
        parts = [call(0, "a", "edit_ex"), call(0, None, "isting_file"), call(0, arguments="{}")]
        assert calls(*parts) == [("a", "edit_existing_file", "{}")]
        again = [call(0, "a", "bash"), call(0, "a", "bash", "{"), call(0, None, "bash", "}"), call(0, "a", "", "")]
        assert calls(*again) == [("a", "bash", "{}")]

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

    @pytest.mark.parametrize(("index", "call_id"), [(None, None), (None, "call_0"), (0, None)])
    def test_without_proof_a_name_behind_whole_arguments_begins_a_call_and_within_them_it_does_not(
        self, index: int | None, call_id: str | None
    ) -> None:
        pieces = [call(index, call_id, "bash", text) for text in ('{"x":', "1}", '{"x":', '{"y":', "2}}")]
        other = [call(index, None, "edit", "{}")]
        read = [(name, arguments) for _, name, arguments in calls(*pieces, *other)]
        assert read[:2] == [("bash", '{"x":1}'), ("bash", '{"x":{"y":2}}')]
        assert read[2:] == [("edit", "{}")]

    def test_without_index_and_id_another_name_is_another_call(self) -> None:
        assert calls(call(None, None, "one"), call(None, None, "two")) == [("", "one", ""), ("", "two", "")]

    def test_a_call_that_is_sent_again_under_its_index_and_id_is_never_run_twice(self) -> None:
        assert len(calls(call(0, "a", "bash", '{"x":1}'), call(0, "a", "bash", '{"x":1}'))) == 1

    def test_objects_in_a_row_are_a_call_each(self) -> None:
        chunks = [call(None, None, "bash", {"command": "a"}), call(None, None, "bash", {"command": "b"})]
        assert [arguments for _, _, arguments in calls(*chunks)] == ['{"command": "a"}', '{"command": "b"}']

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
            [{**piece("stop"), "usage": USAGE}, {"choices": [], "usage": USAGE}],
            [{**piece(), "usage": {"prompt_tokens": 683, "completion_tokens": 1}}, {**piece("stop"), "usage": USAGE}],
            [{**piece("stop"), "usage": USAGE}, {"choices": [], "usage": None}],
            [{**piece("stop"), "usage": USAGE}, {"usage": {}}],
        ],
        ids=["last-chunk", "finish-chunk", "twice", "every-chunk", "null-behind", "empty-behind"],
    )
    def test_is_found_wherever_it_stands(self, chunks: list[Any]) -> None:
        assert assemble(*chunks).usage == self.WHOLE

    def test_the_last_that_says_a_count_wins_and_one_that_says_nothing_takes_none_away(self) -> None:
        counted = [{"usage": {**USAGE, "completion_tokens": count}} for count in (0, 3, 8)]
        without_details: Any = {"choices": [], "usage": {"prompt_tokens": 683, "completion_tokens": 8}}
        assert assemble(*counted, without_details, {"usage": {"prompt_tokens": None}}).usage == self.WHOLE

    def test_what_the_server_does_not_say_is_unknown(self) -> None:
        assert assemble(piece("stop")).usage == Usage()
        assert used({"prompt_tokens": 0}) == Usage(prompt_tokens=0)
        assert used({"prompt_tokens": 5, "prompt_tokens_details": None}) == Usage(prompt_tokens=5)

    @pytest.mark.parametrize(
        "odd",
        [
            {"prompt_tokens": "many"},
            {"prompt_tokens": [1]},
            {"prompt_tokens": True},
            {"prompt_tokens": -1},
            "none",
            [1],
            {"prompt_tokens_details": 3},
        ],
    )
    def test_what_is_no_count_is_unknown(self, odd: object) -> None:
        assert used(odd) == Usage()

    @pytest.mark.parametrize(
        ("sent", "read"),
        [
            ({"reasoning_tokens": 4}, Usage(reasoning_tokens=4)),
            ({"prompt_cache_hit_tokens": 4}, Usage(cached_tokens=4)),
            ({"cached_tokens": 4}, Usage(cached_tokens=4)),
            ({"cached_tokens": 4, "prompt_tokens_details": {"cached_tokens": 0}}, Usage(cached_tokens=0)),
            ({"prompt_tokens_details": {"created_cache_tokens": 4}}, Usage(cache_write_tokens=4)),
        ],
        ids=["sglang", "deepseek", "moonshot", "the-standard-wins", "vllm"],
    )
    def test_a_server_that_is_not_known_may_say_it_in_any_of_these_ways(
        self, sent: dict[str, Any], read: Usage
    ) -> None:
        assert used(sent) == read

    def test_it_stands_where_the_dialect_says_and_nowhere_else(self) -> None:
        paths = UsagePaths(prompt=("in.all",), cached=("in.known",), cache_write=("in.new",), output=("out",))
        sent = {"in": {"all": 9, "known": 5, "new": 4}, "out": 2, "prompt_tokens": 77, "completion_tokens": 77}
        dialect = Dialect(name="own", title="one", usage=paths)
        read = assemble({"usage": sent}, dialect=dialect).usage
        assert read == Usage(prompt_tokens=9, cached_tokens=5, cache_write_tokens=4, output_tokens=2)


class TestTheEnd:
    def test_a_turn_is_complete_with_its_finish_reason(self) -> None:
        assembler = TurnAssembler(GENERIC)
        assembler.add(piece(content="x"))
        assert not assembler.is_complete
        assembler.add(piece("stop"))
        assembler.add({"choices": [], "usage": USAGE})
        assembler.add(piece(None))
        assert (assembler.is_complete, assembler.finish_reason) == (True, "stop")

    @pytest.mark.parametrize("reason", ["eos", "end_turn", "tool_calls", "length", "content_filter"])
    def test_whatever_it_is_called_it_is_the_end(self, reason: str) -> None:
        assembler = TurnAssembler(GENERIC)
        for chunk in (piece("", content="x"), piece(reason), piece(""), piece(None)):
            assembler.add(chunk)
        assert (assembler.is_complete, assembler.finish_reason) == (True, reason)

    @pytest.mark.parametrize("reason", [None, ""])
    def test_an_empty_reason_ends_nothing(self, reason: str | None) -> None:
        assembler = TurnAssembler(GENERIC)
        assembler.add(piece(reason, content="x"))
        assert (assembler.is_complete, assembler.has_begun) == (False, True)

    @pytest.mark.parametrize("reason", ["abort", "error"])
    def test_a_turn_that_the_server_gave_up_is_not_complete(self, reason: str) -> None:
        assembler = TurnAssembler(GENERIC)
        assembler.add(piece(reason))
        assert not assembler.is_complete

    @pytest.mark.parametrize("chunk", SILENT)
    def test_chunks_that_say_nothing_are_passed_over(self, chunk: object) -> None:
        assert assemble(piece(content="x"), chunk, piece("stop")).content == "x"

    @pytest.mark.parametrize(
        "chunk",
        [
            None, 7, "text", [], {"choices": {}}, {"choices": [7]}, piece(content=["x"]), piece(content=7), piece(7),  # type: ignore[arg-type]
            piece(reasoning=7), piece(tool_calls={}), piece(tool_calls=[7]), call(0, "a", "bash", [1]),
            piece(tool_calls=[{"index": "x"}]),
        ],
    )  # fmt: skip
    def test_chunks_that_are_none_are_errors(self, chunk: object) -> None:
        with pytest.raises(ValueError, match=r": Input should be"):
            assemble(chunk)


def test_a_watcher_hears_every_piece_and_never_half_a_character() -> None:
    heard: list[tuple[str, str]] = []
    assembler = TurnAssembler(GENERIC, lambda kind, text: heard.append((kind, text)))
    for chunk in (piece(reasoning="a"), piece(content="b\ud83d"), call(0, "i", "bash", "{}"), piece("stop")):
        assembler.add(chunk)
    assert heard == [("reasoning", "a"), ("content", "b\ufffd"), ("tool_call", "{}")]
    assert assembler.turn().first_token_seconds is not None


def test_without_any_text_there_is_no_first_token() -> None:
    assert assemble(piece(role="assistant", content=""), piece("stop")).first_token_seconds is None


class _Guard:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def add(self, text: str) -> None:
        self.heard.append(text)
        if len(self.heard) == 3:
            raise EndlessThinkingError("round and round")


def test_a_guard_hears_the_thinking_alone_and_what_it_raises_leaves_the_turn_so_far() -> None:
    guard = _Guard()
    assembler = TurnAssembler(GENERIC, guard=guard)
    for chunk in (piece(reasoning="a"), piece(reasoning=""), piece(content="x"), piece(reasoning="b")):
        assembler.add(chunk)
    with pytest.raises(EndlessThinkingError):
        assembler.add({**piece(reasoning="c"), "usage": {"prompt_tokens": 5}})
    assert guard.heard == ["a", "b", "c"]
    assert (assembler.turn().reasoning, assembler.usage) == ("abc", Usage(prompt_tokens=5))


class _Collecting(Behaviour):
    """Keeps every part, and finds usage in the choice."""

    name = "collecting"

    def collect(self, part: Mapping[str, Any], extras: dict[str, Any]) -> None:
        extras["parts"] = [*extras.get("parts", []), dict(part)]

    def usage(self, choice: Mapping[str, Any]) -> object:
        return choice.get("spent")


def test_moonshot_says_its_usage_in_the_choice() -> None:
    chunk = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}]}
    assert assemble(chunk, dialect=load_dialect("moonshot")).usage == TestUsage.WHOLE


@pytest.mark.parametrize(
    ("pieces", "heard"),
    [
        (["\n<th", "ink>a", "b</thi", "nk>c", "d"], "<think>ab</thi"),
        (["<think>a</think>", "b"], ""),
        (["I write ", "<think>", "a"], ""),
        (["<thinking", "a"], ""),
        (["", "<", "think>a", "b"], "<think>ab"),
    ],
)
def test_a_guard_hears_thinking_within_the_content(pieces: list[str], heard: str) -> None:
    guard = _Guard()
    assembler = TurnAssembler(GENERIC, guard=guard)
    for content in pieces:
        assembler.add(piece(content=content))
    assert "".join(guard.heard) == heard


class TestBehaviours:
    @pytest.fixture(autouse=True)
    def dialect(self, monkeypatch: pytest.MonkeyPatch) -> Dialect:
        monkeypatch.setattr("agent.stream.BEHAVIOURS", {"collecting": _Collecting})
        return GENERIC.model_copy(update={"behaviours": ("collecting",)})

    def test_collect_from_every_delta_as_it_came(self, dialect: Dialect) -> None:
        turn = assemble(piece(content="x", odd=[1]), piece("stop", odd=[2]), dialect=dialect)
        assert turn.extras == {"parts": [{"content": "x", "odd": [1]}, {"odd": [2]}]}
        assert turn.received().extras == turn.extras

    def test_collect_from_a_whole_message(self, dialect: Dialect) -> None:
        assembler = TurnAssembler(dialect)
        assembler.add_whole({"choices": [{"message": {"content": "x", "odd": 1}}]})
        assert assembler.turn().extras == {"parts": [{"content": "x", "odd": 1}]}

    def test_find_usage_in_the_choice(self, dialect: Dialect) -> None:
        chunk = {"choices": [{"delta": {}, "finish_reason": "stop", "spent": USAGE}]}
        assert assemble(chunk, dialect=dialect).usage == TestUsage.WHOLE
        assert assemble(chunk).usage == Usage()
