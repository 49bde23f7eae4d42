"""The doctor is right about every server family while it is healthy."""

import pytest
from conformance.behaviour import families, load_behaviour
from doctor_desk import examined

from results.records.doctor import CARRIES_NONE, KEPT, LOST, NO_THINKING

QUESTIONS = ("tool_turns", "user_message")

KEEPS_BOTH = (KEPT, KEPT)
MEMORY = {
    "generic": (KEPT, LOST),  # no parser: thinking comes inline, and goes back inline
    "lmstudio": (KEPT, LOST),
    "ollama": (KEPT, LOST),
    "openai": (CARRIES_NONE, CARRIES_NONE),
}
NOT_PASSED = {
    "generic": {"thinking_on", "thinking_off", "user_message", "cache"},
    "gemini-compat": {"cache"},
    "lmstudio": {"thinking_off", "user_message", "cache"},
    "mlx": {"overflow"},
    "ollama": {"user_message", "cache", "overflow"},
    "transformers-serve": {"cache", "overflow"},
}
"""Checks that a healthy server of the family does not pass. No cache counts, and an answer that comes too soon to tell
by time; a prompt that is too long taken in silence; thinking that a request cannot turn off."""


@pytest.mark.parametrize("family", families())
async def test_a_healthy_server(family: str):
    found = await examined(family)
    assert found.answers(*QUESTIONS) == MEMORY.get(family, KEEPS_BOTH)
    # What the dialect knows of overflows is for its own tests; here it matters that the doctor sees what happens.
    assert set(found.not_passed) - {"overflow"} == NOT_PASSED.get(family, set[str]()) - {"overflow"}
    if "overflow" in NOT_PASSED.get(family, ()):
        assert found["overflow"].answer in ("accepted", "silently truncated")
    assert found["parallel_calls"].answer == "2 in a turn"


@pytest.mark.parametrize("family", ["llama.cpp", "vllm", "ollama", "deepseek"])
async def test_without_thinking_there_is_none_to_keep(family: str):
    found = await examined(family, only=QUESTIONS, thinking=False)
    assert found.answers(*QUESTIONS) == (NO_THINKING, NO_THINKING)
    assert not found.server.journal


async def test_what_a_server_tells_about_itself_is_in_the_report():
    found = await examined("vllm", only=["reach", "context"], window=None)
    assert found["context"].answer == f"{found.server.behaviour.context.window:,} tokens"
    assert "server 0." in found["reach"].detail
    assert found.report.backend.dialect == "vllm"


@pytest.mark.parametrize(
    ("window", "status", "says"),
    [(8_192, "fail", "32,768"), (65_536, "pass", "131,072"), (131_072, "pass", "")],
)
async def test_the_context_is_judged(window: int, status: str, says: str):
    found = await examined("llama.cpp", only=["context"], window=window)
    assert found["context"].status == status
    assert says in found["context"].detail


async def test_a_context_that_nobody_tells_is_not_known():
    found = await examined("generic", only=["context", "overflow"], window=None)
    assert set(found.not_passed) == {"context", "overflow"}
    assert "--context" in found["context"].detail


async def test_few_requests_are_sent():
    assert len((await examined("llama.cpp")).server.journal) <= 22


async def test_speed_is_measured_at_one_and_at_thirty_two_thousand_tokens():
    found = await examined("llama.cpp", only=["cache", "speed"])
    assert set(found.report.figures) == {
        f"{name}_{size}" for name in ("ttft", "prefill", "decode") for size in ("1k", "32k")
    }
    short, long = [exchange.prompt_tokens for exchange in found.server.journal[-2:]]
    assert 900 <= short <= 1_200
    assert 30_000 <= long <= 34_000


async def test_no_prompt_of_two_checks_begins_alike():
    found = await examined("llama.cpp", only=["reach", "tool_turns", "speed"])
    opened = [
        exchange.prompt.text.partition("Examination ")[2][:8] for exchange in found.server.journal if exchange.prompt
    ]
    assert len(opened) == len(set(opened)) >= 4


async def test_more_cached_tokens_than_the_prompt_has_give_no_speed_of_reading():
    behaviour = load_behaviour("llama.cpp").changed(
        "usage",
        fields={
            "prompt_tokens": "prompt",
            "completion_tokens": "completion",
            "prompt_tokens_details.cached_tokens": "total",
        },
    )
    found = await examined(behaviour, only=["speed"])
    assert "first token" in found["speed"].answer
    assert "reads" not in found["speed"].answer
    assert min(found.report.figures.values()) >= 0
