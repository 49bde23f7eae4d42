"""What may be another one each time is left out of a comparison, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.observations import observation_differences, without_volatile
from results.records.events import ToolResultEvent

PLAIN = st.text(alphabet="abc xyz\n-_/.()'\"éß", max_size=30)


def result(text: str, step: int = 1, name: str = "bash") -> ToolResultEvent:
    return ToolResultEvent(time=0, step=step, name=name, sent={"role": "tool", "content": text}, exit_code=0, seconds=0)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("exit=0 0.4s\nhere", "exit=0 12.0s\nhere"),
        ("at 2026-11-23 20:55:01.123", "at 2026-11-24T01:02:03"),
        ("2026-11-23T20:55:01+00:00", "2026-11-24T01:02:03Z"),
        ("-rw-r--r-- 1 root root 5 Nov 23 20:55 a", "-rw-r--r-- 1 root root 5 Dec  1 07:01 a"),
        ("3 passed in 0.05s", "3 passed in 1.20s"),
        ("real\t0m0.003s", "real\t0m1.503s"),
        ("<object object at 0x7f1234567890>", "<object object at 0x7f0987654321>"),
        ("pid 4242 began", "pid 17 began"),
        ("[1] 4242", "[1] 17"),
        ("served at http://127.0.0.1:43121/v1", "served at http://127.0.0.1:51002/v1"),
        ("/tmp/tmpab_12xy/file", "/tmp/tmpqq99zz00/file"),
        ("/tmp/tmp.vdcBpCaZbt", "/tmp/tmp.vLq2ClXgNn"),
        ("Mon Nov 23 20:58:25 UTC 2026", "Tue Dec  1 01:02:03 UTC 2026"),
    ],
)
def test_what_is_of_the_moment_is_the_same(first: str, second: str) -> None:
    assert without_volatile(first) == without_volatile(second)
    assert observation_differences([result(first)], [result(second)]) == (1, [])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("exit=0 0.4s\nhere", "exit=1 0.4s\nhere"),
        ("took 4 tries", "took 5 tries"),
        ("here exit=0 0.4s", "here exit=0 0.5s"),
        ("version 1.2.3", "version 1.2.4"),
        ("0x12", "0x13"),
        ("localhost:8000", "localhost:8001"),
        ("/tmp/a", "/tmp/b"),
        ("5 Nov 23", "5 Nov 24"),
        ("id 4242", "id 17"),
    ],
)
def test_what_is_not_of_the_moment_differs(first: str, second: str) -> None:
    compared, (difference,) = observation_differences(
        [result("same"), result(first, 3)], [result("same"), result(second)]
    )
    assert compared == 2
    assert (difference.number, difference.step, difference.first, difference.second) == (
        2, 3, first.split("\n")[0], second.split("\n")[0],
    )  # fmt: skip


@given(text=PLAIN)
def test_words_are_never_left_out(text: str) -> None:
    assert without_volatile(text) == text


@given(before=PLAIN, first=PLAIN, second=PLAIN)
def test_another_word_anywhere_is_found(before: str, first: str, second: str) -> None:
    volatile = "at 2026-11-23 20:55:01 by 0x7f1234567890: "
    _, differences = observation_differences([result(before + volatile + first)], [result(before + volatile + second)])
    assert (differences == []) == (first == second)


def test_an_answer_that_only_one_has_differs() -> None:
    compared, (difference,) = observation_differences([result("a"), result("b", 7)], [result("a")])
    assert (compared, difference.step, difference.first, difference.second) == (2, 7, "b", None)


def test_another_tool_or_another_end_differs() -> None:
    other = result("a").model_copy(update={"exit_code": 1})
    assert len(observation_differences([result("a")], [other])[1]) == 1
    assert len(observation_differences([result("a")], [result("a", name="terminal")])[1]) == 1


def test_a_long_line_is_shown_where_it_parts() -> None:
    _, (difference,) = observation_differences([result("x" * 9000 + "a")], [result("x" * 9000 + "b")])
    assert difference.first is not None
    assert difference.first.endswith("xa")
    assert len(difference.first) < 1000
