"""Trials begin in an order that follows from their tasks alone."""

from hypothesis import given
from hypothesis import strategies as st

from evals.scheduling.order import in_order

Task = tuple[str, float, str]
TASKS = st.lists(st.tuples(st.text(max_size=3), st.sampled_from([0.0, 15.0, 60.0]), st.sampled_from("abc")), max_size=8)


def ordered(tasks: list[Task], attempts: int = 1) -> list[tuple[Task, int]]:
    return in_order(tasks, attempts, expected=lambda task: task[1], shared=lambda task: task[2])


def test_the_longest_begin_first_and_what_shares_layers_goes_together() -> None:
    tasks = [("1", 15.0, "django"), ("2", 60.0, "flask"), ("3", 15.0, "sympy"), ("4", 15.0, "django")]
    assert [task[0] for task, _ in ordered(tasks)] == ["2", "1", "4", "3"]


def test_what_is_alike_stays_as_it_is() -> None:
    tasks = [(str(number), 0.0, "a") for number in range(9)]
    assert [task for task, _ in ordered(tasks)] == tasks


@given(tasks=TASKS, attempts=st.integers(1, 4))
def test_every_task_is_attempted_once_before_any_is_again(tasks: list[Task], attempts: int) -> None:
    trials = ordered(tasks, attempts)
    assert [attempt for _, attempt in trials] == [n for n in range(1, attempts + 1) for _ in tasks]
    for number in range(attempts):
        rounds = [task for task, _ in trials[number * len(tasks) : (number + 1) * len(tasks)]]
        assert sorted(rounds) == sorted(tasks)
