"""The prefix cache follows vLLM's rules, and the rendering follows Qwen's, so that a lost prefix shows."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.scripted.prefix_cache import BLOCK_TOKENS, PrefixCache
from agent.scripted.rendering import Renderer, tokenize
from agent.scripted.script import Reply
from agent.scripted.wire import ChatRequest, RequestError


def digits(count: int, start: int = 0) -> bytes:
    """`count` tokens."""
    return tokenize("".join(str((start + each) % 10) for each in range(count)))


class TestPrefixCache:
    def test_a_known_prompt_hits_in_full_blocks_and_never_wholly(self):
        cache = PrefixCache()
        assert cache.process(digits(64)) == 0
        assert cache.process(digits(64)) == 48  # the last block is computed anew: its last token has to be
        assert cache.process(digits(65)) == 64
        assert cache.process(digits(79)) == 64
        assert cache.process(digits(40)) == 32

    @pytest.mark.parametrize("count", [0, 1, 15, 16])
    def test_a_prompt_without_a_full_block_before_its_last_token_has_no_hit(self, count: int):
        cache = PrefixCache()
        cache.process(digits(64))
        assert cache.process(digits(count)) == 0

    def test_a_changed_token_loses_its_block_and_all_behind_it(self):
        cache = PrefixCache()
        cache.process(digits(160))
        changed = digits(50) + tokenize("x") + digits(109, start=51)
        assert cache.process(changed) == 48
        assert cache.process(tokenize("x") + digits(159, start=1)) == 0

    def test_equal_blocks_after_different_ones_are_different(self):
        cache = PrefixCache()
        cache.process(tokenize("a" * 1) + digits(63))
        cache.process(digits(16) + digits(48, start=3))
        assert cache.process(tokenize("b") + digits(63)) == 0
        assert cache.process(digits(16, start=5) + digits(48, start=3)) == 0

    def test_what_was_generated_is_known_afterwards(self):
        cache = PrefixCache()
        cache.process(digits(40), generated=digits(40))
        assert cache.process(digits(40) + digits(40) + digits(20)) == 80

    def test_when_it_is_full_the_least_recent_goes_first_and_its_end_before_its_beginning(self, renderer: Renderer):
        cache = PrefixCache(capacity=10)
        old, new = digits(6 * BLOCK_TOKENS), digits(6 * BLOCK_TOKENS, start=5)
        cache.process(old)
        cache.process(new)
        assert cache.process(new + digits(1)) == 6 * BLOCK_TOKENS
        assert cache.process(old + digits(1)) == 4 * BLOCK_TOKENS


def request(
    *messages: dict[str, Any],
    tools: list[dict[str, Any]] | None = None,
    enable_thinking: bool = True,
    preserve_thinking: bool = False,
) -> ChatRequest:
    options = {"enable_thinking": enable_thinking, "preserve_thinking": preserve_thinking}
    return ChatRequest.model_validate({"messages": messages, "tools": tools, "chat_template_kwargs": options})


SYSTEM = {"role": "system", "content": "  Be brief.\n"}
USER = {"role": "user", "content": "Fix it.\n"}
BASH = {
    "type": "function",
    "function": {"name": "bash", "description": "Run <it> & sée", "parameters": {"b": 1, "a": 2}},
}


def call(name: str, arguments: str) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


def tool(content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "call_1", "content": content}


def assistant(content: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


OPENING = "<|im_start|>assistant\n<think>\n"


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer()


class TestRendering:
    def test_texts_are_trimmed_and_thinking_is_opened(self, renderer: Renderer):
        expected = f"<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nFix it.<|im_end|>\n{OPENING}"
        assert renderer.text(request(SYSTEM, USER)) == expected

    def test_thinking_switched_off_is_opened_and_closed(self, renderer: Renderer):
        text = renderer.text(request(USER, enable_thinking=False))
        assert text == "<|im_start|>user\nFix it.<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"

    def test_tools_stand_before_the_system_text_one_json_line_each_in_the_order_sent(self, renderer: Renderer):
        text = renderer.text(request(SYSTEM, USER, tools=[BASH, {"name": "z"}]))
        lines = f'<tools>\n{json.dumps(BASH, ensure_ascii=False)}\n{{"name": "z"}}\n</tools>\n'
        assert lines in text
        assert text.startswith("<|im_start|>system\n# Tools\n")
        assert text.index(lines) < text.index("\n\nBe brief.<|im_end|>\n<|im_start|>user\n")

    def test_tools_without_a_system_message_make_a_system_turn(self, renderer: Renderer):
        text = renderer.text(request(USER, tools=[BASH]))
        assert text.startswith("<|im_start|>system\n# Tools\n")
        assert "mention none.<|im_end|>\n<|im_start|>user\nFix it." in text

    def test_calls_are_xml_with_strings_raw_and_other_values_as_json(self, renderer: Renderer):
        arguments = '{"command":"ls\\n","flag":true,"range":[1,"x"],"none":null}'
        turn = assistant(
            "Look.\n\n", reasoning_content="Hm.\n", tool_calls=[call("bash", arguments), call("done", "{}")]
        )
        assert renderer.text(request(USER, turn)).removesuffix(OPENING).endswith(
            "<|im_start|>assistant\n<think>\nHm.\n</think>\n\nLook.\n\n"
            "<tool_call>\n<function=bash>\n<parameter=command>\nls\n\n</parameter>\n"
            '<parameter=flag>\ntrue\n</parameter>\n<parameter=range>\n[1, "x"]\n</parameter>\n'
            "<parameter=none>\nnull\n</parameter>\n</function>\n</tool_call>\n"
            "<tool_call>\n<function=done>\n</function>\n</tool_call><|im_end|>\n"
        )  # fmt: skip

    def test_a_call_without_content_follows_the_thinking_without_a_further_blank_line(self, renderer: Renderer):
        text = renderer.text(request(USER, assistant(reasoning="Hm.", tool_calls=[call("done", "{}")])))
        assert "<think>\nHm.\n</think>\n\n<tool_call>\n<function=done>" in text

    def test_neighbouring_tool_messages_share_a_user_turn(self, renderer: Renderer):
        text = renderer.text(request(USER, assistant("a"), tool(" one\n"), tool("two"), assistant("b"), tool("three")))
        assert (
            "<|im_start|>user\n<tool_response>\none\n</tool_response>\n<tool_response>\ntwo\n</tool_response><|im_end|>\n"
            in text
        )
        assert "b<|im_end|>\n<|im_start|>user\n<tool_response>\nthree\n</tool_response><|im_end|>\n" in text

    def test_thinking_before_the_last_question_is_kept_on_demand_only(self, renderer: Renderer):
        messages = (USER, assistant("a", reasoning_content="old"), USER, assistant("b", reasoning_content="new"))
        default, preserved = (
            renderer.text(request(*messages)),
            renderer.text(request(*messages, preserve_thinking=True)),
        )
        assert "<|im_start|>assistant\na<|im_end|>" in default
        assert "<think>\nold\n</think>\n\na<|im_end|>" in preserved
        assert "<think>\nnew\n</think>\n\nb<|im_end|>" in default

    def test_a_user_message_wrapped_as_a_tool_response_is_no_question(self, renderer: Renderer):
        notice = {"role": "user", "content": "<tool_response>\nnote\n</tool_response>"}
        text = renderer.text(request(USER, assistant("a", reasoning_content="kept"), notice))
        assert "<think>\nkept\n</think>" in text

    @pytest.mark.parametrize(
        ("fields", "thinking"),
        [
            ({"reasoning_content": "RC", "reasoning": "R"}, "RC"),
            ({"reasoning": "R"}, "R"),
            ({"reasoning_content": "", "reasoning": "R"}, ""),
            ({}, ""),
        ],
    )
    def test_reasoning_content_is_read_before_reasoning(
        self, renderer: Renderer, fields: dict[str, str], thinking: str
    ):
        text = renderer.text(request(USER, assistant("a", **fields)))
        assert f"<think>\n{thinking}\n</think>\n\na<|im_end|>" in text

    def test_thinking_inside_the_content_is_split_off(self, renderer: Renderer):
        text = renderer.text(request(USER, assistant("<think>\ninline\n</think>\n\nanswer")))
        assert text.count("<think>\ninline\n</think>\n\nanswer<|im_end|>") == 1

    def test_parts_of_a_content_are_joined(self, renderer: Renderer):
        parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
        assert "onetwo<|im_end|>" in renderer.text(request({"role": "user", "content": parts}))

    @pytest.mark.parametrize(
        ("messages", "expected"),
        [
            ([USER, SYSTEM], r"messages\[1\]: the system message must be at the beginning"),
            ([SYSTEM, SYSTEM, USER], r"messages\[1\]: the system message"),
            ([SYSTEM, assistant("a")], "No user query found"),
            ([], "No user query found"),
            ([{"role": "user", "content": "<tool_response>x</tool_response>"}], "No user query found"),
            ([{"role": "developer", "content": "x"}, USER], "unexpected message role 'developer'"),
            ([USER, assistant("a", tool_calls=[call("b", '{"x": ')])], r"messages\[1\]\.tool_calls\[0\].*'{\"x\": '"),
            ([USER, assistant("a", tool_calls=[call("b", "")])], "cannot be parsed as a JSON object"),
            ([USER, assistant("a", tool_calls=[call("b", "[1]")])], "it is no object"),
            ([USER, assistant("a", tool_calls=[call("b", "[" * 100_000)])], "cannot be parsed as a JSON object"),
            ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, USER], "text only"),
        ],
    )
    def test_what_the_template_refuses_is_refused(
        self, renderer: Renderer, messages: list[dict[str, Any]], expected: str
    ):
        with pytest.raises(RequestError, match=expected):
            renderer.prompt(request(*messages))


CONTROL = st.sampled_from(
    ["<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "<", "\n", " ", "_", "5"]
)
TEXTS = st.lists(st.one_of(st.text(), CONTROL)).map("".join)


class TestTokens:
    @given(before=TEXTS, inserted=st.characters(codec="utf-8"), after=TEXTS)
    def test_no_character_is_without_a_token(self, before: str, inserted: str, after: str):
        assert tokenize(before + inserted + after) != tokenize(before + after)

    @given(TEXTS, TEXTS, TEXTS)
    def test_turns_counted_one_by_one_count_as_the_whole_prompt(
        self, renderer: Renderer, system: str, user: str, output: str
    ):
        chat = request(
            {"role": "system", "content": system},
            {"role": "user", "content": "Fix it. " + user},
            assistant(user, reasoning_content=system, tool_calls=[call("bash", json.dumps({"command": output}))]),
            tool(output),
            tool(user),
            tools=[BASH],
        )
        assert renderer.prompt(chat).tokens == tokenize(renderer.text(chat))

    def test_control_tokens_count_one_even_behind_punctuation(self):
        assert len(tokenize('"><tool_call>')) == len(tokenize('">')) + len(tokenize("<tool_call>"))
        assert len(tokenize("<|im_start|>")) == len(tokenize("7"))

    @pytest.mark.parametrize("thinking", [True, False])
    @pytest.mark.parametrize(
        "reply",
        [
            {
                "reasoning": "Hm.\n",
                "content": "Look.",
                "tool_calls": [{"name": "bash", "arguments": {"command": "ls"}}],
            },
            {"tool_calls": [{"name": "a"}, {"name": "b", "arguments": '{"x":[1,2]}'}]},
            {"content": "Done.\n"},
            {"reasoning": "Only thinking."},
            {},
        ],
    )
    def test_a_reply_sent_back_as_it_came_renders_to_what_was_generated(
        self, renderer: Renderer, reply: dict[str, Any], thinking: bool
    ):
        scripted = Reply.model_validate(reply)
        prompt = renderer.prompt(request(SYSTEM, USER, enable_thinking=thinking, preserve_thinking=True))
        generated = renderer.generation(scripted, prompt)
        sent_back = assistant(
            scripted.content,
            reasoning_content=scripted.reasoning if thinking else "",
            tool_calls=[call(each.name, each.arguments_json) for each in scripted.tool_calls],
        )
        following = renderer.prompt(
            request(SYSTEM, USER, sent_back, USER, enable_thinking=thinking, preserve_thinking=True)
        )
        assert following.tokens.startswith(prompt.tokens + generated.tokens)

    def test_malformed_arguments_are_counted_although_no_template_could_render_them(self, renderer: Renderer):
        reply = Reply.model_validate({"tool_calls": [{"name": "bash", "arguments": '{"command": "l'}]})
        empty = Reply.model_validate({"tool_calls": [{"name": "bash"}]})
        prompt = renderer.prompt(request(USER))
        assert renderer.generation(reply, prompt).count > renderer.generation(empty, prompt).count
