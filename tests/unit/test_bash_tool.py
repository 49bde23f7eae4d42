"""What the model is told of a command's output that is too long to be shown."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from runners.local_sandbox import LocalSandbox
from tools.bash import Bash, BashParameters
from tools.sandbox import CommandResult, Sandbox


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[LocalSandbox]:
    opened = LocalSandbox(tmp_path)
    yield opened
    await opened.close()


async def answer(sandbox: Sandbox, command: str, tool: Bash | None = None, timeout: int = 30) -> list[str]:
    result = await (tool or Bash())(BashParameters(command=command, timeout=timeout), sandbox)
    return result.text.split("\n")


def outputs(sandbox: Sandbox) -> list[Path]:
    return sorted(Path(sandbox.scratch_directory).glob("**/output-*"))


async def test_the_header_comes_first(sandbox: LocalSandbox) -> None:
    lines = await answer(sandbox, "echo said; exit 3")
    assert lines[0].startswith("exit=3 0.")
    assert lines[0].endswith("s")
    assert lines[1:] == ["said"]


async def test_a_short_output_names_no_file_and_makes_none(sandbox: LocalSandbox) -> None:
    text = "\n".join(await answer(sandbox, "seq 1000"))
    assert "output-" not in text
    assert outputs(sandbox) == []


async def test_a_long_output_names_the_file_with_all_of_it(sandbox: LocalSandbox) -> None:
    tool = Bash()
    await answer(sandbox, "true", tool)
    text = "\n".join(await answer(sandbox, "seq 100000", tool))
    assert f"characters cut here; the whole output is in {outputs(sandbox)[0]}]" in text
    assert text.endswith("99999\n100000")
    assert outputs(sandbox)[0].read_text().endswith("\n100000\n")
    assert len(text) < 17_000


async def test_each_output_has_a_file_of_its_own(sandbox: LocalSandbox) -> None:
    tool = Bash()
    for last in (20_000, 30_000):
        await answer(sandbox, f"seq {last}", tool)
    assert [path.read_text().split()[-1] for path in outputs(sandbox)] == ["20000", "30000"]


async def test_a_line_that_was_cut_can_be_read_again(sandbox: LocalSandbox) -> None:
    lines = await answer(sandbox, "head -c 5000 /dev/zero | tr '\\0' x; echo; echo end")
    assert lines[1] == "x" * 2000 + " [3000 characters of this line cut]"
    assert lines[2:] == ["end", f"[Lines were cut; the whole output is in {outputs(sandbox)[0]}]"]
    assert outputs(sandbox)[0].read_text() == "x" * 5000 + "\nend\n"


async def test_few_bytes_that_are_many_characters_can_be_read_again(sandbox: LocalSandbox) -> None:
    text = "\n".join(await answer(sandbox, "yes $'\\1\\2\\3' | head -c 15000"))
    assert f"the whole output is in {outputs(sandbox)[0]}" in text
    assert outputs(sandbox)[0].stat().st_size == 15_000


async def test_progress_takes_one_line(sandbox: LocalSandbox) -> None:
    lines = await answer(sandbox, "for i in $(seq 5000); do printf '\\r%s of 5000' $i; done; echo")
    assert lines[1:] == ["5000 of 5000"]


async def test_a_deadline_is_told_with_what_was_printed(sandbox: LocalSandbox) -> None:
    lines = await answer(sandbox, "echo begun; sleep 972", timeout=1)
    assert lines[0].startswith("exit=none 1.")
    assert lines[1].startswith("The command was killed after 1 seconds")
    assert lines[2:] == ["begun"]


async def test_a_state_that_is_lost_is_told(sandbox: LocalSandbox) -> None:
    lines = await answer(sandbox, "cd /usr; exec echo replaced")
    assert "was not saved" in lines[1]
    assert lines[2:] == ["replaced"]


class Prepared:
    """A sandbox whose command has ended like this."""

    scratch_directory = "/scratch{0}"

    def __init__(self, result: CommandResult, refuses: OSError | None = None) -> None:
        self.result = result
        self.refuses = refuses
        self.written: dict[str, bytes] = {}

    async def shell(self, command: str, **options: Any) -> CommandResult:
        return self.result

    async def write_bytes(self, path: str, data: bytes) -> None:
        if self.refuses:
            raise self.refuses
        self.written[path] = data


LONG = b"line\n" * 4000
HUGE = b"head\n" * 400_000 + b"tail\n" * 400_000
PATH = "/scratch{0}/output-1.txt"


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (CommandResult(LONG, 0, 0.1, kept=20_000), f"characters cut here; the whole output is in {PATH}]"),
        (CommandResult(LONG, 0, 0.1), f"characters cut here; the whole output is in {PATH}]"),
        (
            CommandResult(LONG, 0, 0.1, not_kept="No space left on device"),
            "characters cut here; the whole could not be kept: No space left on device]",
        ),
        (
            CommandResult(LONG, 0, 0.1, kept=9, not_kept="No space left on device"),
            f"characters cut here; the first 9 bytes of 20000 are in {PATH}; then: No space left on device]",
        ),
        (
            CommandResult(HUGE, 0, 0.1, dropped=7_000_000, head_length=2_000_000, kept=5_000_000),
            f"and 9951424 bytes more cut here; the first 5000000 bytes of 11000000 are in {PATH}]",
        ),
        (
            CommandResult(HUGE, 0, 0.1, dropped=7_000_000, head_length=2_000_000),
            f"and 9951424 bytes more cut here; head and tail are in {PATH}]",
        ),
        (
            CommandResult(HUGE, 0, 0.1, kept=4_000_000),
            f"and 2951424 bytes more cut here; the whole output is in {PATH}]",
        ),
        (
            CommandResult(b"\r1%\r2%" * 300_000 + b"\r\n", 0, 0.1, kept=1_800_002),
            f"1%\n[751426 bytes cut here; the whole output is in {PATH}]\n2%",
        ),
    ],
)  # fmt: skip
async def test_where_the_rest_is(result: CommandResult, told: str) -> None:
    prepared = Prepared(result)
    text = "\n".join(await answer(cast("Sandbox", prepared), "prepared"))
    assert told in text
    assert len(text) < 17_000
    assert list(prepared.written) == ([] if result.kept or result.not_kept else [PATH])


async def test_a_file_that_cannot_be_written_is_told() -> None:
    prepared = Prepared(CommandResult(b"x" * 3000, 0, 0.1), OSError(28, "No space left on device"))
    assert (await answer(cast("Sandbox", prepared), "prepared"))[-1] == (
        "[Lines were cut; the whole could not be kept: No space left on device]"
    )
