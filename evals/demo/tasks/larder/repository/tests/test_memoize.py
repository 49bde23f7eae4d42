from larder import memoize


def test_a_result_is_computed_once():
    calls = []

    @memoize()
    def double(number):
        calls.append(number)
        return 2 * number

    assert [double(2), double(2), double(3)] == [4, 4, 6]
    assert calls == [2, 3]


def test_none_is_a_result_too():
    calls = []

    @memoize()
    def nothing(*, of):
        calls.append(of)

    nothing(of=1)
    nothing(of=1)
    assert calls == [1]


def test_the_cache_can_be_reached():
    @memoize(size=1)
    def same(value):
        return value

    same(1)
    same(2)
    assert len(same.cache) == 1
