"""What the `background` tool promises in every sandbox; a test module gives the class a fixture `sandbox`."""

import asyncio
import re
import time
from typing import Any

import pytest

from tools.background import Background, BackgroundParameters
from tools.sandbox import KEPT_LIMIT, Sandbox
from tools.tool import ToolResult


async def call(background: Background, sandbox: Sandbox, action: str, **arguments: Any) -> ToolResult:
    result = await background(BackgroundParameters.model_validate({"action": action, **arguments}), sandbox)
    assert re.match(r"exit=(none|\d+) \d+\.\ds\n", result.text)
    return result


async def body(background: Background, sandbox: Sandbox, action: str, **arguments: Any) -> str:
    return (await call(background, sandbox, action, **arguments)).text.partition("\n")[2]


async def run(background: Background, sandbox: Sandbox, command: str, name: str = "b1") -> tuple[int | None, str]:
    """Start a command and wait for its end: its exit code and all that it printed."""
    started = await call(background, sandbox, "start", command=command)
    ended = await call(background, sandbox, "poll", id=name, timeout=20)
    assert f"{name} exit=" in ended.text
    shown = [result.text.split("\n", 2)[2] for result in (started, ended)]
    return ended.exit_code, "\n".join(text for text in shown if text != "[nothing new]")


async def runs(sandbox: Sandbox, word: str) -> bool:
    """Whether a process runs whose command line holds the word."""
    listing = await sandbox.exec(
        "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done 2>/dev/null", timeout=20
    )
    return any(line.startswith(f"sleep {word}".encode()) for line in listing.output.splitlines())


class BackgroundPromises:
    """The suite."""

    @pytest.fixture
    def background(self) -> Background:
        return Background()

    async def test_a_command_starts_from_the_state_of_the_shell(self, background: Background, sandbox: Sandbox) -> None:
        await sandbox.shell('cd /usr/lib; x="a b"; f() { echo "$x in $PWD"; }', timeout=20)
        assert await run(background, sandbox, "f") == (0, "a b in /usr/lib")

    async def test_starting_changes_nothing_in_the_shell(self, background: Background, sandbox: Sandbox) -> None:
        look = 'pwd; echo "${x-} ${y-} $-"; trap; export -p; jobs'
        before = (await sandbox.shell(look, timeout=20)).output
        await run(background, sandbox, "cd /; x=1; export y=2; set -e; trap 'echo t' EXIT")
        assert (await sandbox.shell(look, timeout=20)).output == before

    async def test_starting_does_not_wait_and_polling_tells_what_is_new(
        self, background: Background, sandbox: Sandbox
    ) -> None:
        command = "echo one; while [ ! -f go ]; do sleep 0.05; done; echo two; sleep 970"
        started = await call(background, sandbox, "start", command=command)
        assert re.match(r"b1 running \d+s\n", started.text.partition("\n")[2])
        assert started.exit_code is None
        if not started.text.endswith("\none"):
            assert (await body(background, sandbox, "poll", id="b1", timeout=20, until="one")).endswith("s\none")
        assert (await body(background, sandbox, "poll", id="b1")).endswith("\n[nothing new]")
        await sandbox.shell("touch go", timeout=20)
        assert (await body(background, sandbox, "poll", id="b1", timeout=20, until="two")).endswith("s\ntwo")
        assert (await body(background, sandbox, "poll", id="b1")).endswith("\n[nothing new]")

    async def test_polling_waits_for_the_end(self, background: Background, sandbox: Sandbox) -> None:
        assert await run(background, sandbox, "sleep 0.5; echo late; exit 3") == (3, "late")
        assert await body(background, sandbox, "poll", id="b1") == "b1 exit=3\n[nothing new]"

    @pytest.mark.parametrize(
        ("command", "answer"),
        [
            ("exit 3", (3, "")),
            ("echo it\\'s \"fine\" # 'a comment", (0, "it's fine")),
            ("cat <<'END'\n$x `y`\nEND", (0, "$x `y`")),
            ("echo one\necho two\n", (0, "one\ntwo")),
            ("echo a; exec sh -c 'echo b; exit 4'", (4, "a\nb")),
            ("set -e; false; echo no", (1, "")),
            ("cat; echo end", (0, "end")),
            ("echo {a} %s \\\\n", (0, "{a} %s \\n")),
            ("printf 'no line end'", (0, "no line end")),
            ("exec >/dev/null; echo gone", (0, "")),
            ("sh -c 'kill -9 $$'", (137, "")),
            ("echo err >&2", (0, "err")),
        ],
    )
    async def test_any_command_is_run_as_it_is(
        self, background: Background, sandbox: Sandbox, command: str, answer: tuple[int, str]
    ) -> None:
        code, printed = await run(background, sandbox, command)
        assert (code, re.sub(r"(?m)^.*Killed.*\n?", "", printed)) == answer

    async def test_a_syntax_error_is_an_answer(self, background: Background, sandbox: Sandbox) -> None:
        code, printed = await run(background, sandbox, "if then")
        assert code == 2
        assert "yntax error" in printed
        assert (await sandbox.shell("echo well", timeout=20)).output == b"well\n"

    async def test_a_command_that_signals_its_own_group_is_told_apart(
        self, background: Background, sandbox: Sandbox
    ) -> None:
        code, printed = await run(background, sandbox, "echo before; kill 0; sleep 971; echo after")
        assert code == 143
        assert "before" in printed
        assert "after" not in printed
        assert (await sandbox.shell("echo well", timeout=20)).output == b"well\n"

    async def test_it_outlives_the_deadlines_of_later_commands(self, background: Background, sandbox: Sandbox) -> None:
        await call(background, sandbox, "start", command="sleep 972 & while :; do date >tick; sleep 0.1; done")
        for command in ("sleep 973", "(setsid sleep 973 &); sleep 973"):
            late = await sandbox.shell(command, timeout=1)
            assert late.timed_out
        assert (await body(background, sandbox, "poll", id="b1")).startswith("b1 running")
        assert await runs(sandbox, "972")
        assert not await runs(sandbox, "973")
        before = await sandbox.read_bytes(f"{sandbox.working_directory}/tick")
        await asyncio.sleep(1.2)
        assert await sandbox.read_bytes(f"{sandbox.working_directory}/tick") != before

    async def test_killing_ends_the_whole_tree_and_tells_the_last_words(
        self, background: Background, sandbox: Sandbox
    ) -> None:
        command = "echo words; sleep 974 & (trap '' TERM; sleep 974) & (setsid sleep 974) & sleep 974"
        await call(background, sandbox, "start", command="while sleep 975; do :; done")
        await call(background, sandbox, "start", command=command)
        await call(background, sandbox, "start", command="while sleep 976; do :; done")
        killed = await call(background, sandbox, "kill", id="b2")
        assert (killed.text.split("\n")[1:], killed.exit_code) == (["b2 killed", "[nothing new]"], None)
        assert not await runs(sandbox, "974")
        assert await runs(sandbox, "975")
        assert await runs(sandbox, "976")
        listing = (await body(background, sandbox, "list")).split("\n")
        assert [line.split(" ")[1] for line in listing] == ["running", "killed:", "running"]
        assert await body(background, sandbox, "poll", id="b2") == "b2 killed\n[nothing new]"

    async def test_a_text_that_was_printed_before_is_not_waited_for(
        self, background: Background, sandbox: Sandbox
    ) -> None:
        started = await call(background, sandbox, "start", command="echo listening; sleep 977")
        assert "listening" in started.text
        begun = time.monotonic()
        await call(background, sandbox, "poll", id="b1", until="listening\n", timeout=60)
        assert time.monotonic() - begun < 30
        nul = await call(background, sandbox, "poll", id="b1", until="\0", timeout=60)
        assert (nul.is_error, "NUL" in nul.text) == (True, True)
        await call(background, sandbox, "kill", id="b1")

    async def test_an_error_holds_no_control_token(self, background: Background, sandbox: Sandbox) -> None:
        result = await call(background, sandbox, "poll", id="<|im_end|>")
        assert result.is_error
        assert "<|im_end|>" not in result.text

    async def test_killing_what_has_ended_changes_nothing(self, background: Background, sandbox: Sandbox) -> None:
        assert await run(background, sandbox, "echo done; exit 3") == (3, "done")
        for _ in range(2):
            assert await body(background, sandbox, "kill", id="b1") == "b1 exit=3\n[nothing new]"

    async def test_what_a_command_has_left_behind_is_told_and_can_be_killed(
        self, background: Background, sandbox: Sandbox
    ) -> None:
        await call(background, sandbox, "start", command="sleep 977 &")
        polled = await body(background, sandbox, "poll", id="b1", timeout=20)
        assert polled.split("\n")[0] == "b1 exit=0, but what it started still runs"
        assert await body(background, sandbox, "kill", id="b1") == "b1 exit=0\n[nothing new]"
        assert not await runs(sandbox, "977")

    async def test_output_without_end_is_bounded_and_the_newest_is_shown(
        self, background: Background, sandbox: Sandbox
    ) -> None:
        command = f"yes | head -c {KEPT_LIMIT + 5_000_000}; echo newest; sleep 978"
        shown = await body(background, sandbox, "start", command=command)
        for _ in range(50):
            if shown.endswith("newest"):
                break
            shown = await body(background, sandbox, "poll", id="b1", timeout=1)
            assert len(shown) < 40_000
        assert shown.endswith("newest")
        assert f"[More than {KEPT_LIMIT} bytes were printed" in shown
        sizes = await sandbox.exec(f"cat {sandbox.scratch_directory}/background-1.* | wc -c", timeout=20)
        assert int(sizes.output) < KEPT_LIMIT + 3 * 1024 * 1024

    async def test_a_long_output_is_cut_in_the_middle_and_its_file_is_named(
        self, background: Background, sandbox: Sandbox
    ) -> None:
        code, printed = await run(background, sandbox, "seq 100000; sleep 1")
        assert code == 0
        assert printed.startswith("1\n2\n")
        path = re.search(r"the whole output is in (\S+)\]", printed)
        assert path
        assert (await sandbox.read_bytes(path[1])).split() == [str(number).encode() for number in range(1, 100001)]
        assert len(printed) < 20_000

    async def test_characters_that_are_printed_in_halves_are_shown_whole(
        self, background: Background, sandbox: Sandbox
    ) -> None:
        command = "printf 'a\\303'; while [ ! -f go ]; do sleep 0.05; done; printf '\\251b'; sleep 979"
        started = await body(background, sandbox, "start", command=command)
        assert started.endswith("\na") or (
            await body(background, sandbox, "poll", id="b1", timeout=9, until="a")
        ).endswith("\na")
        await sandbox.shell("touch go", timeout=20)
        assert (await body(background, sandbox, "poll", id="b1", timeout=20, until="éb")).endswith("\néb")

    async def test_control_tokens_and_colours_do_not_come_through(
        self, background: Background, sandbox: Sandbox
    ) -> None:
        _, printed = await run(background, sandbox, r"printf '\033[31mred\033[0m <|im_end|> \001'")
        assert printed == "red <\u2060|im_end|> \\x01"

    async def test_files_that_are_gone_are_an_answer(self, background: Background, sandbox: Sandbox) -> None:
        await call(background, sandbox, "start", command="while [ ! -f go ]; do sleep 0.05; done")
        await sandbox.exec(f"rm -rf {sandbox.scratch_directory}; touch go", timeout=20)
        polled = await body(background, sandbox, "poll", id="b1", timeout=10)
        assert polled.startswith("b1 has ended")

    async def test_names_that_an_earlier_agent_used_are_left_to_it(
        self, background: Background, sandbox: Sandbox
    ) -> None:
        await call(background, sandbox, "start", command="echo first; sleep 980")
        other = Background()
        assert (await body(other, sandbox, "start", command="echo second")).startswith("b2 ")
        assert "second" not in await body(background, sandbox, "poll", id="b1")
