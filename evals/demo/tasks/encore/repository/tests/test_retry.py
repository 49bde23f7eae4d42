import pytest

from encore import constant, retry


class Flaky:
    """A function that fails as often as it is told, and then returns "done"."""

    def __init__(self, failures, error=ConnectionError):
        self.failures = failures
        self.error = error
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error(f"call {self.calls}")
        return "done"


@pytest.fixture
def naps():
    """The seconds of every sleep."""
    return []


def wrapped(function, naps, **options):
    @retry(sleep=naps.append, **options)
    def call():
        return function()

    return call


def test_success_needs_one_call(naps):
    flaky = Flaky(failures=0)
    assert wrapped(flaky, naps)() == "done"
    assert flaky.calls == 1
    assert naps == []


def test_failure_is_tried_again(naps):
    flaky = Flaky(failures=2)
    assert wrapped(flaky, naps, wait=constant(5))() == "done"
    assert flaky.calls == 3
    assert naps == [5, 5]


def test_the_last_exception_comes_through(naps):
    flaky = Flaky(failures=9)
    with pytest.raises(ConnectionError, match="call 3"):
        wrapped(flaky, naps, attempts=3)()
    assert flaky.calls == 3


def test_other_exceptions_come_through_at_once(naps):
    flaky = Flaky(failures=9, error=KeyError)
    with pytest.raises(KeyError):
        wrapped(flaky, naps, on=(ConnectionError, TimeoutError))()
    assert flaky.calls == 1
    assert naps == []


def test_the_name_of_the_function_stays():
    @retry()
    def fetch():
        """Fetch it."""

    assert (fetch.__name__, fetch.__doc__) == ("fetch", "Fetch it.")
