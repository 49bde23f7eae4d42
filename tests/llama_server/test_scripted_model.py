"""A scripted model says its script on the real server: reply after reply, in every shape that a reply has."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llama_server.desk import bash
from llama_server.replies import Call, Reply
from llama_server.scripted_model import Architecture, write_scripted_model
from llama_server.server import LlamaServer, running
from tools.tool import definition
from tools.toolset import make_toolset

Message = dict[str, Any]
TOOLS = [definition(tool) for tool in make_toolset("bash+editor")]
THINKS = Reply("First I think about it.", "Then I say it.", (bash("echo and do it"),))
ALL_SHAPES = [
    THINKS,
    Reply("Two calls at once, then.", "", (bash("ls"), bash("ls -la; echo 'Grüße, 世界'"))),
    Reply("", "Spoken without a thought.", (bash("true # a thing of its own"),)),
    Reply("", "", (bash("nothing but a call"),)),
    Reply(
        "Not only strings.", "", (Call("str_replace_editor", {"command": "view", "path": "/a", "view_range": [1, 9]}),)
    ),
    Reply("Only a thought."),
    Reply("Now all is done.\n\nReally,\tall of it.", "It is\n\n- done\n- well done"),
]


@contextmanager
def served(path: Path, *replies: Reply, architecture: Architecture = "qwen3", **options: Any) -> Generator[LlamaServer]:
    write_scripted_model(path / "model.gguf", replies, architecture=architecture, **options)
    with running(path / "model.gguf") as server:
        yield server


class Talk:
    """A conversation with a server, to which everything that it says goes back."""

    def __init__(self, server: LlamaServer, *, thinks: bool = True, preserve: bool = True) -> None:
        self._server = server
        self._options = {"enable_thinking": thinks, "preserve_thinking": preserve}
        self.messages: list[Message] = [{"role": "system", "content": "You are here."}]

    def ask(self, text: str, **fields: Any) -> Reply:
        self.messages.append({"role": "user", "content": text})
        return self.go_on(**fields)

    def go_on(self, **fields: Any) -> Reply:
        if self.messages[-1]["role"] == "assistant":  # which a server would take for a beginning to be completed
            return self.ask("Go on.", **fields)
        body = {"messages": self.messages, "tools": TOOLS, "chat_template_kwargs": self._options, **fields}
        said = self._server.post("/v1/chat/completions", body)["choices"][0]["message"]
        self.messages.append(said)
        calls = [call["function"] for call in said.get("tool_calls", [])]
        self.messages += [{"role": "tool", "tool_call_id": "c", "content": "exit=0 0.1s"} for _ in calls]
        told = tuple(Call(call["name"], json.loads(call["arguments"])) for call in calls)
        return Reply(said.get("reasoning_content", "").rstrip("\n"), said["content"].rstrip("\n"), told)


@pytest.mark.parametrize("thinks", [True, False], ids=["thinking", "instruct"])
@pytest.mark.parametrize("architecture", ["qwen3", "qwen35"])
def test_replies_of_every_shape_come_in_order(tmp_path: Path, architecture: Architecture, *, thinks: bool):
    script = ALL_SHAPES if thinks else [replace(reply, reasoning="") for reply in ALL_SHAPES if reply.content]
    with served(tmp_path, *(ALL_SHAPES if thinks else script), architecture=architecture) as server:
        talk = Talk(server, thinks=thinks)

        assert [talk.ask("Begin."), *(talk.go_on() for _ in script[1:])] == script


def test_users_and_results_in_between_do_not_matter(tmp_path: Path):
    with served(tmp_path, *ALL_SHAPES[:3]) as server:
        talk = Talk(server, preserve=False)

        assert talk.ask("Begin.") == ALL_SHAPES[0]
        talk.messages += [{"role": "user", "content": "Oh, and hurry. " * 200}, {"role": "user", "content": "Please."}]
        assert talk.go_on() == ALL_SHAPES[1]
        assert talk.ask("Go on.") == ALL_SHAPES[2]


def test_last_reply_repeats_and_a_shorter_history_goes_back(tmp_path: Path):
    with served(tmp_path, *ALL_SHAPES[:2]) as server:
        talk = Talk(server)
        assert [talk.ask("Begin."), talk.go_on(), talk.go_on()] == [*ALL_SHAPES[:2], ALL_SHAPES[1]]

        talk.messages = talk.messages[:2]

        assert talk.go_on() == ALL_SHAPES[0]


def test_reply_that_was_cut_counts_as_said(tmp_path: Path):
    with served(tmp_path, *ALL_SHAPES[:2]) as server:
        talk = Talk(server)
        assert THINKS.reasoning.startswith(talk.ask("Begin.", max_tokens=2).reasoning)

        assert talk.ask("Go on.") == ALL_SHAPES[1]


def test_model_notices_that_its_thinking_was_dropped(tmp_path: Path):
    first = Reply("The numbers are 4711 and 1234567.", "The first is 4711.")
    knows = Reply("I remember the second one.", "It is 1234567.")
    guesses = Reply("I find no second number in here.", "I have forgotten it.")
    with served(tmp_path, first, replace(knows, forgetful=guesses)) as server:
        for preserve, answer in ((True, knows), (False, guesses)):
            talk = Talk(server, preserve=preserve)

            assert talk.ask("Choose two numbers, tell the first.") == first
            assert talk.ask("And the second?") == answer


def test_cue_begins_another_conversation(tmp_path: Path):
    other = Reply("This is about something else.", "The weather is fine.", cue="How is the weather?")
    with served(tmp_path, THINKS, other, Reply("And so it goes on.", "It may rain.")) as server:
        talk = Talk(server)

        assert talk.ask("Tell me: How is the weather?") == replace(other, cue=None)
        assert talk.ask("And tomorrow?").content == "It may rain."
        assert Talk(server).ask("Begin.") == THINKS


def test_malformed_call_comes_as_it_is_written(tmp_path: Path):
    raw = "<tool_call>\n<function=bash>\n<parameter=command>\nls and no end"
    with served(tmp_path, Reply("I call badly.", raw=raw), THINKS) as server:
        body = {"messages": [{"role": "user", "content": "Begin."}]}

        assert server.post("/v1/chat/completions", body)["choices"][0]["message"]["content"] == raw


def test_script_that_is_too_long_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="the script is too long: 700 replies"):
        write_scripted_model(tmp_path / "m.gguf", [Reply(f"This is step {n}.") for n in range(700)])
