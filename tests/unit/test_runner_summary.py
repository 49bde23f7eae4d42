"""What runners say at their end is read as they print it, and held against what is read as passed."""

import io
import unittest
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.swebench.runner_summary import doubts, read_pytest, read_sympy, read_unittest, reader_of, without_colour

PYTEST = """\
============================= test session starts ==============================
collected 5 items

tests/test_a.py .sFxE                                                     [100%]
=========================== short test summary info ============================
PASSED tests/test_a.py::test_one
PASSED tests/test_a.py::test_two[a b]
SKIPPED [1] tests/test_a.py:9: no network
XFAIL tests/test_a.py::test_three - known
FAILED tests/test_a.py::test_four - assert 1 == 2
ERROR tests/test_a.py::test_five - boom
====== 1 failed, 2 passed, 1 skipped, 1 xfailed, 1 error in 0.12s ======
"""
OLD_PYTEST = "tests/test_a.py::test_one PASSED\n===== 1 passed, 2 warnings in 0.12 seconds =====\n"
DJANGO = """\
test_one (app.tests.Case) ... ok
test_two (app.tests.Case) ... FAIL
test_three (app.tests.Case) ... skipped 'no'

======================================================================
FAIL: test_two (app.tests.Case)
----------------------------------------------------------------------
Traceback (most recent call last):

----------------------------------------------------------------------
Ran 3 tests in 0.011s

FAILED (failures=1, skipped=1)
Destroying test database for alias 'default'...
"""
SYMPY = """\
test_one ok
test_two F
____ sympy/core/tests/test_a.py:test_two ____
=========== tests finished: 1 passed, 1 failed, 2 skipped, in 0.40 seconds ===========
DO *NOT* COMMIT!
"""


def test_pytest_is_read() -> None:
    end = read_pytest(PYTEST + "PASSED tests/test_a.py::test_four\n")
    assert end is not None
    assert (end.not_failed, end.failed, end.passed, end.listed_as_passed) == (4, 2, 2, 2)
    assert "test_four" not in PYTEST[end.position :]
    assert end.listing.startswith("\nPASSED") or end.listing.startswith("PASSED")
    assert doubts(end, 1, ["tests/test_a.py::test_one"]) == []


def test_colours_hide_no_end() -> None:
    """As sphinx's rows print it, under tox."""
    coloured = (
        "\x1b[36m\x1b[1m=========== short test summary info ============\x1b[0m\n"
        "\x1b[32mPASSED\x1b[0m tests/test_a.py::\x1b[1mtest_one\x1b[0m\n"
        "\x1b[32m==== \x1b[32m\x1b[1m1 passed\x1b[0m, \x1b[33m1 skipped\x1b[0m"
        "\x1b[32m in 6.02s\x1b[0m\x1b[32m ====\x1b[0m\n"
        "py39: exit 0 (7.37 seconds) /testbed> python -m pytest -rA tests/test_a.py pid=145\n"
    )
    end = read_pytest(without_colour(coloured))
    assert end is not None
    assert (end.passed, end.listed_as_passed, end.failed) == (1, 1, 0)


def test_the_last_end_counts() -> None:
    """Tests of pytest itself print what other runs of it said."""
    end = read_pytest("===== 9 passed in 0.01s =====\n" + PYTEST)
    assert end is not None
    assert end.passed == 2


@pytest.mark.parametrize(
    "end", ["1 passed in 0.1s (0:00:01)", "1 passed in 61.20s (0:01:01)", "1 passed, 3 warnings in 5s"]
)
def test_spellings_of_the_counts(end: str) -> None:
    found = read_pytest(f"=== short test summary info ===\nPASSED a::b\n====== {end} ======\n")
    assert found is not None
    assert doubts(found, 0, ["a::b"]) == []


def test_an_old_pytest_lists_nothing() -> None:
    end = read_pytest(OLD_PYTEST)
    assert end is not None
    assert (end.not_failed, end.listing) == (1, "")
    assert doubts(end, 0, ["tests/test_a.py::test_one"]) == []


def test_django_is_read() -> None:
    end = read_unittest(DJANGO)
    assert end is not None
    assert (end.not_failed, end.failed) == (2, 1)
    assert doubts(end, 1, ["test_one (app.tests.Case)", "a docstring (of a test)", "another"]) == []
    (contradicted,) = doubts(end, 1, ["test_two (app.tests.Case)"])
    assert "test_two" in contradicted


BEHAVIOURS = ("pass", "fail", "error", "skip", "expected failure", "unexpected success", "subtests")
FIXTURES = ("none", "setUpClass", "tearDownClass", "tearDown")


def case(name: str, behaviours: Sequence[str], fixture: str) -> type[unittest.TestCase]:
    """A class of tests that behave in these ways."""

    def test(behaviour: str) -> Callable[[unittest.TestCase], None]:
        def body(self: unittest.TestCase) -> None:
            match behaviour:
                case "fail" | "expected failure":
                    self.fail("on purpose")
                case "error":
                    raise ValueError("on purpose")
                case "skip":
                    self.skipTest("on purpose")
                case "subtests":
                    for number in range(4):
                        with self.subTest(number=number):
                            assert number == 0
                case _:
                    pass

        expected = behaviour in {"expected failure", "unexpected success"}
        return unittest.expectedFailure(body) if expected else body

    def fail(*_: object) -> None:
        raise ValueError("on purpose")

    members: dict[str, object] = {
        f"test_{number}_{each.replace(' ', '_')}": test(each) for number, each in enumerate(behaviours)
    }
    if fixture != "none":
        members[fixture] = classmethod(fail) if fixture.endswith("Class") else fail
    return type(name, (unittest.TestCase,), members)


CASES = st.lists(st.tuples(st.lists(st.sampled_from(BEHAVIOURS), max_size=5), st.sampled_from(FIXTURES)), max_size=3)


@given(CASES)
def test_an_honest_run_of_unittest_is_never_doubted(cases: list[tuple[list[str], str]]) -> None:
    suite, stream = unittest.TestSuite(), io.StringIO()
    for number, (behaviours, fixture) in enumerate(cases):
        suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(case(f"Case{number}", behaviours, fixture)))
    result = unittest.TextTestRunner(stream, verbosity=2).run(suite)
    output = stream.getvalue()
    # As swebench's parser for Django's runner reads it: the name, then the status at the end of the line.
    passed = [line.removesuffix(" ... ok") for line in output.splitlines() if line.endswith(" ... ok")]
    assert doubts(read_unittest(output), 0 if result.wasSuccessful() else 1, passed) == []


def test_unexpected_successes_may_leave_with_either_status() -> None:
    """Django's runner counted them as failures in its exit status from 4.1 on only."""
    output = "test_one (a.B) ... unexpected success\n\nRan 1 test in 0.001s\n\nFAILED (unexpected successes=1)\n"
    assert [doubts(read_unittest(output), code, []) for code in (0, 1)] == [[], []]
    (doubt,) = doubts(read_unittest(output.replace("(", "(failures=1, ", 2)), 0, [])
    assert "left with 0" in doubt


def test_counts_without_their_headings_are_taken_at_their_word() -> None:
    output = "test_one (a.B) ... ok\ntest_two (a.B) ... ok\n\nRan 2 tests in 0.001s\n\nFAILED (failures=1)\n"
    (doubt,) = doubts(read_unittest(output), 1, ["test_one (a.B)", "test_two (a.B)"])
    assert "2 expected tests are read as passed, and their runner counts 1" in doubt


def test_a_test_of_which_a_part_failed_did_not_pass() -> None:
    output = (
        "test_one (a.B) ... ok\n\nFAIL: test_one (a.B) (number=1)\nFAIL: test_one (a.B) (number=2)\n"
        "\nRan 1 test in 0.001s\n\nFAILED (failures=2)\n"
    )
    found = doubts(read_unittest(output), 1, ["test_one (a.B)"])
    assert any("these failed, whatever else is printed: test_one (a.B)" in doubt for doubt in found)


def test_sympy_is_read() -> None:
    end = read_sympy(SYMPY)
    assert end is not None
    assert (end.not_failed, end.failed) == (3, 1)
    assert doubts(end, 1, ["test_one"]) == []


@pytest.mark.parametrize(
    ("output", "code", "passed", "said"),
    [
        ("PASSED a::b\n", 0, ["a::b"], "did not come to its own end"),
        (PYTEST, 0, [], "left with 0"),
        (PYTEST.replace("1 failed, ", "").replace(", 1 error", ""), 1, [], "left with 1"),
        (PYTEST.replace("SKIPPED", "PASSED a::c\nSKIPPED"), 1, [], "3 tests are listed as passed"),
        (PYTEST, 1, [f"a::{number}" for number in range(5)], "5 expected tests"),
    ],
)
def test_what_does_not_agree_is_said(output: str, code: int, passed: list[str], said: str) -> None:
    (doubt,) = doubts(read_pytest(output), code, passed)
    assert said in doubt


@pytest.mark.parametrize(
    ("command", "reader"),
    [
        ("pytest -rA tests/test_a.py", read_pytest),
        ("python3 -m pytest -rA", read_pytest),
        ("tox --current-env -epy39 -v -- tests/test_a.py", read_pytest),
        ("./tests/runtests.py --verbosity 2 --parallel 1 app", read_unittest),
        ("PYTHONWARNINGS='ignore' bin/test -C --verbose sympy/core/tests/test_a.py", read_sympy),
        ("npm test", None),
    ],
)
def test_runners_are_known_by_their_commands(command: str, reader: object) -> None:
    assert reader_of(command) is reader
