"""The doctor on the real llama.cpp server, with thinking preserved and not.

The model plays back a script (tests/llama_server): it calls the tools that it is asked for, and can repeat no number,
so that the tokens of the prompt have to say whether thinking is kept.
"""

from pathlib import Path

import pytest
from llama_server.replies import Call, Reply
from llama_server.scripted_model import CHAT_TEMPLATE, write_scripted_model
from llama_server.server import running

from agent.backends import BackendOptions, open_backend
from agent.doctor.checks.tool_call import TERM
from agent.doctor.examination import examine
from results.records.doctor import KEPT, LOST, DoctorReport

NUMBERS = " ".join(f"number{place:03}" for place in range(200))
WEATHER = (Call("weather", {"city": "Paris"}), Call("weather", {"city": "Oslo"}))
SCRIPT = [
    Reply("Whatever I am asked, this is all that I can think.", "This answer is the same for everything."),
    Reply("It has to be looked up first.", "Looking.", (Call("look_up", {"term": TERM}),), cue="Call look_up once"),
    Reply("Two cities make two calls.", "Both.", WEATHER, cue="Paris, and what"),
    Reply("Counting needs no care.", NUMBERS, cue="Count from 1 to"),
]
WINDOW = 16_384

pytestmark = pytest.mark.timeout(120)


async def report_on(folder: Path, *flags: str, template: str | None = None) -> DoctorReport:
    model = folder / "model.gguf"
    write_scripted_model(model, SCRIPT, template=template)
    with running(model, *flags, context=WINDOW) as server:
        # The server sometimes closes a connection just when a request comes, as real ones do.
        async with open_backend(server.url, BackendOptions(retries=2)) as backend:
            return await examine(backend)


def answers(report: DoctorReport) -> dict[str, str]:
    return {finding.check: finding.answer for finding in report.findings}


@pytest.mark.parametrize("flags", [(), ("--no-reasoning-preserve",)])
async def test_thinking_is_kept_since_it_is_asked_for(tmp_path: Path, flags: tuple[str, ...]):
    report = await report_on(tmp_path, *flags)
    found = answers(report)
    assert report.backend.dialect == "llama.cpp"
    assert report.backend.context_window == WINDOW
    assert (found["tool_turns"], found["user_message"]) == (KEPT, KEPT)
    assert found["thinking_on"] == "in reasoning_content"
    assert found["thinking_off"] == "no thinking in this mode"
    assert found["parallel_calls"] == "2 in a turn"
    assert found["cache"] == "hits"
    assert found["images"] == "no vision"
    assert found["output_cap"] == "kept"
    assert found["overflow"] == "recognised"
    assert found["usage"] == "prompt, output, cached"
    assert {finding.check for finding in report.findings if finding.status == "fail"} == {"context"}


async def test_a_template_that_forgets_is_found(tmp_path: Path):
    template = CHAT_TEMPLATE.read_text("utf-8").replace("preserve_thinking is true or ", "")
    report = await report_on(tmp_path, template=template)
    assert [finding.check for finding in report.lost] == ["user_message"]
    assert answers(report)["tool_turns"] == KEPT


async def test_a_server_that_does_not_part_thinking_from_speech_is_found(tmp_path: Path):
    report = await report_on(tmp_path, "--reasoning-format", "none")
    found = answers(report)
    assert found["thinking_on"] == "inline"
    assert (found["tool_turns"], found["user_message"]) == (KEPT, KEPT)
    assert LOST not in found.values()
