from encore import constant, exponential


def waits(wait, attempts):
    return [wait(attempt) for attempt in range(1, attempts + 1)]


def test_constant():
    assert waits(constant(2), 3) == [2, 2, 2]


def test_exponential():
    assert waits(exponential(1), 4) == [1, 2, 4, 8]


def test_exponential_has_a_limit():
    assert waits(exponential(10, factor=3, longest=60), 4) == [10, 30, 60, 60]
