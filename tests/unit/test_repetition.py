"""An agent that goes in circles is warned and then stopped; one that only looks like it is left alone."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.repetition import EndlessThinkingError, RepeatGuard, RepetitionLimits, ThinkingGuard, ThinkingLimits
from tools.output import header


def told(guard: RepeatGuard, steps: str, seconds: float = 0.1) -> RepeatGuard:
    """Tell `guard` of steps: one letter each, equal letters for equal steps."""
    for number, step in enumerate(steps):
        guard.add([("bash", f'{{"command": "{step}"}}')], [f"{header(0, seconds * number)}\nresult of {step}"])
    return guard


class TestRepeatGuard:
    def test_the_third_time_is_warned_of_and_the_fifth_is_the_end(self):
        seen: list[tuple[int, bool, bool]] = []
        guard = RepeatGuard()
        for _ in range(5):
            told(guard, "a")
            seen.append((guard.repetitions, guard.warning() is not None, guard.exceeded))
        assert seen == [(1, False, False), (2, False, False), (3, True, False), (4, True, False), (5, True, True)]

    def test_the_warning_says_what_is_repeated_and_how_often(self):
        assert "this same call 3 times with the same result" in str(told(RepeatGuard(), "aaa").warning())
        assert "the same 2 steps 3 times" in str(told(RepeatGuard(), "ababab").warning())
        several = RepeatGuard()
        for _ in range(4):
            several.add([("bash", "a"), ("bash", "b")], ["x", "y"])
        assert "these same calls 4 times" in str(several.warning())

    @pytest.mark.parametrize("cycle", ["a", "ab", "abc", "aab"])
    def test_cycles_of_up_to_three_steps_are_noticed(self, cycle: str):
        assert told(RepeatGuard(), "xyz" + cycle * 3).warning()
        assert not told(RepeatGuard(), "xyz" + cycle * 4).exceeded
        guard = told(RepeatGuard(), "xyz" + cycle * 5)
        assert guard.exceeded
        assert (guard.cycle, guard.repetitions) == (len(cycle), 5)

    def test_longer_cycles_are_not(self):
        assert told(RepeatGuard(), "abcd" * 10).warning() is None
        assert told(RepeatGuard(RepetitionLimits(longest_cycle=4)), "abcd" * 10).exceeded

    def test_a_step_in_between_starts_the_count_anew(self):
        guard = told(RepeatGuard(), "aaaabaa")
        assert (guard.repetitions, guard.warning(), guard.exceeded) == (2, None, False)

    @pytest.mark.parametrize("differing", ["name", "arguments", "result", "exit code"])
    def test_a_step_that_differs_in_anything_is_another_one(self, differing: str):
        guard = RepeatGuard()
        for number in range(6):
            name, arguments, exit_code, result = "bash", "{}", 0, "waiting"
            match differing:
                case "name":
                    name += str(number)
                case "arguments":
                    arguments += " " * number
                case "exit code":
                    exit_code = number
                case _:
                    result += str(number)
            guard.add([(name, arguments)], [f"{header(exit_code, 1.0)}\n{result}"])
        assert guard.repetitions == 1

    def test_only_a_header_is_left_out_of_the_comparison(self):
        guard = RepeatGuard()
        for number in range(6):
            guard.add([("view", "{}")], [f"exit at {number}\nsame"])
        assert guard.repetitions == 1

    def test_how_long_a_call_took_makes_no_difference(self):
        guard = RepeatGuard()
        for number in range(5):
            guard.add([("bash", "{}")], [f"{header(None, number * 0.7)}\ntimed out"])
        assert guard.exceeded

    def test_the_order_of_calls_counts(self):
        guard = RepeatGuard()
        guard.add([("a", ""), ("b", "")], ["1", "2"])
        guard.add([("b", ""), ("a", "")], ["2", "1"])
        assert guard.repetitions == 1

    @given(st.text("abc", max_size=30))
    def test_what_is_counted_is_what_is_there(self, steps: str):
        def repetitions(length: int) -> int:
            cycle, count = steps[len(steps) - length :], 1
            while steps.endswith(cycle * (count + 1)):
                count += 1
            return count

        guard = told(RepeatGuard(), steps)
        assert guard.repetitions == max(
            (repetitions(length) for length in (1, 2, 3) if length <= len(steps)), default=1
        )

    @given(st.text(st.characters(), max_size=20), st.text(st.characters(), max_size=20))
    def test_any_text_can_be_told(self, arguments: str, result: str):
        guard = RepeatGuard()
        for _ in range(5):
            guard.add([("bash", arguments)], [result])
        assert guard.exceeded


def length_when_stopped(guard: ThinkingGuard, text: str, piece: int) -> int | None:
    """How much of `text` the guard let pass, fed in pieces; None: all of it."""
    for start in range(0, len(text), piece):
        try:
            guard.add(text[start : start + piece])
        except EndlessThinkingError:
            return start + piece
    return None


def noise(length: int, seed: int) -> str:
    return "".join(random.Random(seed).choices("abcdefghijklmnopqrstuvwxyz \n", k=length))


class TestThinkingGuard:
    @settings(max_examples=40)
    @given(st.integers(1, 2_000), st.integers(0, 9_000), st.integers(1, 900), st.integers(0, 1_000))
    def test_a_text_repeated_for_ever_is_stopped_within_a_bound(self, unit: int, before: int, piece: int, seed: int):
        limits = ThinkingLimits()
        text = noise(before, seed) + noise(unit, seed + 1) * (40_000 // unit + 1)
        stopped = length_when_stopped(ThinkingGuard(), text, piece)
        bound = max(limits.repeated_length, limits.repetitions * unit)
        assert stopped is not None
        assert bound <= stopped + unit  # noise may go on like the unit for a bit, which is then part of it
        assert stopped <= before + bound + limits.check_interval + 2 * piece

    @pytest.mark.parametrize("unit", ["a", "ab", "aab" * 300 + "b", ("x" * 1_999) + "y", "Wait, let me check.\n\n"])
    def test_units_that_are_almost_shorter_ones_are_found(self, unit: str):
        assert length_when_stopped(ThinkingGuard(), unit * (30_000 // len(unit)), 7) is not None

    def test_the_reason_says_what_repeats(self):
        with pytest.raises(EndlessThinkingError) as raised:
            ThinkingGuard().add("Wait. " * 2_000)
        assert raised.value.reason == "the model's thinking repeats the same 6 characters"

    @settings(max_examples=20)
    @given(st.integers(0, 1_000_000), st.integers(1, 3_000))
    def test_thinking_that_does_not_repeat_itself_is_never_stopped(self, seed: int, piece: int):
        assert length_when_stopped(ThinkingGuard(), noise(60_000, seed), piece) is None

    @pytest.mark.parametrize(
        "text",
        [
            "".join(f"[2026-11-22 10:00:{n % 60:02}] INFO worker {n}: request done in 5 ms\n" for n in range(400)),
            "." * 5_000,
            "-" * 80 + "\n" + "| a | b |\n" * 500,
            "".join(f"    assert add({n}, 1) == {n + 1}\n" for n in range(400)),
            "".join(f"{n:04b} " for n in range(16)) * 60,
            ("." * 70 + " 12\n" + "." * 70 + " 13\n") * 30,
        ],
        ids=["log", "dots", "table", "similar lines", "bits", "contents"],
    )
    def test_orderly_thinking_is_not_stopped(self, text: str):
        assert length_when_stopped(ThinkingGuard(), f"Let me see.\n{text}\nSo it is.\n{noise(3_000, 1)}", 11) is None

    def test_a_long_unit_has_to_come_often(self):
        unit = noise(2_000, 5)
        assert length_when_stopped(ThinkingGuard(), unit * 7, 50) is None
        assert length_when_stopped(ThinkingGuard(), unit * 8 + unit[:600], 50) is not None

    def test_a_unit_that_is_too_long_is_not_noticed(self):
        assert length_when_stopped(ThinkingGuard(), noise(2_001, 5) * 20, 50) is None

    def test_repetition_that_ended_within_a_piece_is_no_repetition(self):
        ThinkingGuard().add("Wait. " * 5_000 + "Now I see.")

    def test_thinking_may_have_a_longest_length(self):
        guard = ThinkingGuard(ThinkingLimits(longest=1_000))
        guard.add(noise(1_000, 1))
        with pytest.raises(EndlessThinkingError, match="more than 1000 characters"):
            guard.add("x")
