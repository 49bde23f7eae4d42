"""Fault by fault: what the doctor finds where a server is broken in one way, and that it finds nothing else."""

from typing import NamedTuple

import pytest
from conformance.behaviour import load_behaviour
from conformance.faults import ActiveFault, Fault
from conformance.responder import Reply
from doctor_desk import SILENT, examined

from results.records.doctor import CANNOT_TELL, KEPT, LOST

FAMILIES = ("llama.cpp", "vllm")


class Case(NamedTuple):
    """A fault, and all checks that do not pass with it, with their answers."""

    fault: Fault | ActiveFault
    found: dict[str, str]


BOTH_LOST = {"tool_turns": LOST, "user_message": LOST}
STRANDED = {"tool_call": "stranded", "tool_call_whole": "stranded", "parallel_calls": CANNOT_TELL}

CASES = [
    Case(Fault.REASONING_INPUT_IGNORED, BOTH_LOST),
    Case(Fault.REASONING_RENAMED, {"thinking_on": "hidden", **BOTH_LOST}),
    Case(Fault.REASONING_STRIPPED_BY_PROXY, {"thinking_on": "hidden", **BOTH_LOST}),
    Case(Fault.REASONING_INLINE, {"thinking_on": "inline"}),
    Case(Fault.REASONING_INLINE_UNOPENED, {"thinking_on": "inline"}),
    Case(Fault.PRESERVE_IGNORED, {"user_message": LOST}),
    Case(Fault.ALWAYS_THINKS, {"thinking_off": "it thinks"}),
    Case(Fault.NEVER_THINKS, {"thinking_on": "none"}),
    Case(Fault.CALLS_IN_CONTENT, STRANDED),
    Case(Fault.CALLS_IN_REASONING, STRANDED),
    Case(Fault.HERMES_CALLS_IN_CONTENT, STRANDED),
    Case(Fault.ARGUMENTS_MISSING_IN_STREAM, {"tool_call": "broken arguments"}),
    Case(Fault.EMPTY_ARGUMENTS, {"tool_call": "lost arguments", "tool_call_whole": "lost arguments"}),
    Case(Fault.MISSING_IDS, {"tool_call": "no id", "tool_call_whole": "no id"}),
    Case(Fault.REPEATED_IDS, {}),  # the agent gives ids of its own
    Case(Fault.MISSING_INDEX, {}),
    Case(Fault.NAME_REPEATED, {}),
    Case(Fault.PARALLEL_DROPPED, {}),  # said, and no failure
    Case(Fault.NO_USAGE, {"cache": CANNOT_TELL, "usage": "nothing"}),
    Case(Fault.USAGE_LIES, {"cache": "misses"}),
    Case(Fault.CACHE_NEVER_HITS, {"cache": "misses"}),
    Case(Fault.OVERFLOW_UNKNOWN_FORM, {"overflow": "not recognised"}),
    Case(Fault.OUTPUT_CAP_IGNORED, {"output_cap": "ignored"}),
    Case(Fault.FINISH_REASON_LIES, {"output_cap": "kept, not said"}),
    Case(Fault.IMAGES_REFUSED, {}),  # no vision is no failure
    Case(Fault.IMAGES_UNSEEN, {"images": CANNOT_TELL}),
    Case(Fault.SPLIT_UTF8, {}),
    Case(Fault.ONE_GIANT_CHUNK, {}),
    Case(Fault.EMPTY_CHOICES, {}),
    Case(Fault.DUPLICATED_USAGE, {}),
    Case(Fault.COMMENTS, {}),
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.fault.name)
async def test_a_fault_is_found_and_nothing_else(case: Case, family: str):
    found = await examined(family, case.fault)
    assert found.not_passed == case.found
    lost = {check for check, answer in case.found.items() if answer == LOST}
    assert {finding.check for finding in found.report.lost} == lost
    assert all(finding.mend and finding.status == "fail" for finding in found.report.lost)


async def test_one_call_at_a_time_is_said():
    assert (await examined("vllm", Fault.PARALLEL_DROPPED, only=["parallel_calls"]))[
        "parallel_calls"
    ].answer == "one at a time"


async def test_no_vision_is_said():
    assert (await examined("vllm", Fault.IMAGES_REFUSED, only=["images"]))["images"].answer == "no vision"


async def test_a_prompt_that_is_cut_in_silence():
    assert (await examined("llama.cpp", Fault.SILENT_TRUNCATION)).not_passed == {"overflow": "silently truncated"}


async def test_a_context_that_is_smaller_than_stated():
    small = ActiveFault(kind=Fault.SMALLER_CONTEXT, tokens=4_096)
    found = await examined("llama.cpp", small, only=["cache", "overflow"])
    assert found["overflow"].answer == "smaller than stated"
    assert "-c" in (found["overflow"].mend or "")


class TestCacheByTime:
    SLOW = ActiveFault(kind=Fault.SLOW_PREFILL, seconds=0.25)

    async def test_a_hit_that_is_not_reported_shows_in_the_time(self):
        found = await examined("llama.cpp", self.SLOW, Fault.USAGE_LIES, only=["cache"])
        assert found["cache"].answer == "hits, by time"

    async def test_a_hit_shows_in_the_time_where_nothing_is_reported(self):
        found = await examined("ollama", self.SLOW, only=["cache"])
        assert found["cache"].answer == "hits, by time"

    async def test_a_miss_shows_in_the_time(self):
        found = await examined("ollama", self.SLOW, Fault.CACHE_NEVER_HITS, only=["cache"])
        assert (found["cache"].answer, found["cache"].status) == ("misses", "fail")


class TestOneFailureHidesNoOther:
    @pytest.mark.parametrize(
        "fault", [Fault.HTTP_ERROR, Fault.HTML, Fault.DISCONNECT, Fault.ERROR_EVENT, Fault.GARBAGE_EVENT]
    )
    async def test_every_check_comes_to_an_end(self, fault: Fault):
        found = await examined("llama.cpp", fault)
        assert [one.check for one in found.report.findings if one.status == "pass" and one.check != "context"] == [
            *(["tool_call_whole", "overflow", "usage"] if fault in (Fault.ERROR_EVENT, Fault.GARBAGE_EVENT) else [])
        ]
        assert found.report.lost == []

    async def test_an_error_is_told_in_the_words_of_the_server(self):
        broken = ActiveFault(kind=Fault.HTTP_ERROR, status=500, text="the GPU is on fire")
        found = await examined("llama.cpp", broken, only=["tool_call"])
        assert "the GPU is on fire" in found["tool_call"].detail

    async def test_a_server_that_recovers_is_examined_from_there_on(self):
        found = await examined("llama.cpp", ActiveFault(kind=Fault.HTTP_ERROR, times=1), only=["reach", "thinking_on"])
        assert found.not_passed == {"reach": "an error"}


class TestTokensDecideWhereTheModelSaysNothing:
    @pytest.mark.parametrize("family", ["llama.cpp", "vllm", "sglang", "deepseek", "moonshot", "openrouter"])
    async def test_kept(self, family: str):
        found = await examined(family, only=["tool_turns", "user_message"], script=SILENT)
        assert found.answers("tool_turns", "user_message") == (KEPT, KEPT)
        assert "did not repeat" in found["tool_turns"].detail

    async def test_lost(self):
        found = await examined("vllm", Fault.REASONING_INPUT_IGNORED, only=["tool_turns"], script=SILENT)
        assert found["tool_turns"].answer == LOST

    @pytest.mark.parametrize("fault", [None, Fault.REASONING_INPUT_IGNORED])
    async def test_nobody_can_tell_without_counts(self, fault: Fault | None):
        faults = [Fault.NO_USAGE, *([fault] if fault else [])]
        found = await examined("ollama", *faults, only=["tool_turns"], script=SILENT)
        assert (found["tool_turns"].answer, found["tool_turns"].status) == (CANNOT_TELL, "cannot_tell")

    @pytest.mark.parametrize(("fault", "answer"), [(None, KEPT), (Fault.REASONING_INPUT_IGNORED, LOST)])
    async def test_an_endpoint_that_counts_stands_in_for_the_usage(self, fault: Fault | None, answer: str):
        faults = [Fault.NO_USAGE, *([fault] if fault else [])]
        found = await examined("llama.cpp", *faults, only=["tool_turns"], script=SILENT)
        assert found["tool_turns"].answer == answer

    async def test_a_count_that_cannot_be_that_of_the_prompt_proves_no_loss(self):
        behaviour = load_behaviour("ollama").changed(
            "usage", fields={"prompt_tokens": "zero", "completion_tokens": "completion"}
        )
        found = await examined(behaviour, only=["tool_turns", "user_message"], script=SILENT)
        assert found.answers("tool_turns", "user_message") == (CANNOT_TELL, CANNOT_TELL)

    @pytest.mark.parametrize(("fault", "answer"), [(None, KEPT), (Fault.REASONING_INPUT_IGNORED, LOST)])
    async def test_counts_without_the_cached_part_mislead_nobody(self, fault: Fault | None, answer: str):
        behaviour = load_behaviour("ollama").changed(
            "usage", fields={"prompt_tokens": "missed", "completion_tokens": "completion"}
        )
        for _ in range(2):
            found = await examined(behaviour, *([fault] if fault else []), only=["tool_turns"], script=SILENT)
            assert found["tool_turns"].answer == answer


class TestSealedThinking:
    """OpenRouter's blocks without the plain text beside them: they can be carried, and not be read."""

    SEALED = load_behaviour("openrouter").changed("reasoning", emitted_as=None)

    async def test_it_is_kept(self):
        found = await examined(self.SEALED, only=["tool_turns", "user_message"])
        assert found.answers("tool_turns", "user_message") == (KEPT, KEPT)

    async def test_nobody_can_tell_that_it_is_lost(self):
        found = await examined(self.SEALED, Fault.REASONING_INPUT_IGNORED, only=["tool_turns", "user_message"])
        assert found.answers("tool_turns", "user_message") == (CANNOT_TELL, CANNOT_TELL)


class TestAModelThatDoesNotThink:
    async def test_it_has_nothing_to_lose(self):
        faults = (Fault.NEVER_THINKS, Fault.REASONING_INPUT_IGNORED)
        found = await examined("vllm", *faults, only=["tool_turns", "user_message"])
        assert found.answers("tool_turns", "user_message") == ("no thinking in this mode",) * 2
        assert found.report.lost == []


class TestThinkingInTheContent:
    """A server that is not known more closely, without a parser: the product sends inline what came inline.

    That it may be lost then as well shows in the family itself, which forgets at a new message of the user.
    """

    READ = load_behaviour("generic").changed("preserve", mode="always")

    @pytest.mark.parametrize("script", [(), SILENT])
    async def test_it_is_kept_where_the_template_reads_it_there(self, script: list[Reply]):
        found = await examined(self.READ, only=["tool_turns", "user_message"], script=script)
        assert found.answers("tool_turns", "user_message") == (KEPT, KEPT)

    async def test_each_question_is_asked_that_way_by_itself_too(self):
        found = await examined(self.READ, only=["user_message"])
        assert found["user_message"].answer == KEPT
