import pytest

from larder import Cache


@pytest.fixture
def full():
    """A cache with room for two entries, which has two: "a" was written before "b"."""
    cache = Cache(size=2)
    cache.put("a", 1)
    cache.put("b", 2)
    return cache


def test_what_was_put_can_be_got(full):
    assert full.get("a") == 1
    assert full.get("b") == 2


def test_what_was_not_put_is_the_default(full):
    assert full.get("c") is None
    assert full.get("c", 0) == 0


def test_a_full_cache_forgets_the_oldest_entry(full):
    full.put("c", 3)
    assert full.keys() == ["b", "c"]


def test_reading_counts_as_use(full):
    full.get("a")
    full.put("c", 3)
    assert full.keys() == ["a", "c"]


def test_writing_counts_as_use(full):
    full.put("a", 10)
    full.put("c", 3)
    assert full.keys() == ["a", "c"]


def test_looking_does_not_count_as_use(full):
    assert full.peek("a") == 1
    assert "a" in full
    full.put("c", 3)
    assert full.keys() == ["b", "c"]


def test_hits_and_misses_are_counted(full):
    full.get("a")
    full.get("c")
    assert (full.hits, full.misses) == (1, 1)


def test_remove_and_clear(full):
    full.remove("a")
    full.remove("never there")
    assert full.keys() == ["b"]
    full.clear()
    assert len(full) == 0


def test_a_cache_without_room_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        Cache(size=0)
