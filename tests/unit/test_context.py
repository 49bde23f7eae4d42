"""How full the context is: by the server's counts where it gives them, by an estimate that never says too little."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.context import ContextWindow, Finding
from agent.conversation import Conversation
from agent.pictures import picture_urls
from results.records.usage import Usage


def conversation(*texts: str) -> Conversation:
    result = Conversation({"model": "m"}, [])
    for text in texts:
        result.append({"role": "user", "content": text})
    return result


def compared(before: Usage, now: Usage, block: int = 1) -> Finding | None:
    window = ContextWindow(100_000, cache_block=block)
    here = conversation("a")
    assert window.note(before, here) is None
    return window.note(now, here)


class TestSize:
    def test_right_behind_a_turn_it_is_what_the_server_counted(self) -> None:
        window, here = ContextWindow(1_000), conversation("x" * 600)
        window.note(Usage(prompt_tokens=300, output_tokens=40), here)
        size = window.size(here)
        assert (size.tokens, size.how) == (340, "usage")

    def test_what_was_appended_since_is_estimated_from_its_bytes(self) -> None:
        window, here = ContextWindow(1_000), conversation("a")
        window.note(Usage(prompt_tokens=300, output_tokens=40), here)
        here.append({"role": "tool", "content": "y" * 300})
        size = window.size(here)
        assert size.how == "estimate"
        assert 340 + 100 <= size.tokens <= 340 + 120

    def test_a_server_without_counts_leaves_an_estimate_of_the_whole(self) -> None:
        window, here = ContextWindow(1_000), conversation("z" * 3_000)
        window.note(Usage(), here)
        assert window.size(here).tokens >= 1_000

    def test_a_picture_is_not_reckoned_by_its_bytes(self) -> None:
        window, here = ContextWindow(100_000), conversation("a")
        window.note(Usage(prompt_tokens=10, output_tokens=1), here)
        part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 900_000}}
        message = {"role": "tool", "content": [part]}
        here.append(message)
        window.see(message)
        assert len(picture_urls(message)) == 1
        assert 2_000 < window.size(here).tokens < 3_000

    @given(st.text(min_size=1, max_size=400))
    def test_an_estimate_is_never_nothing(self, text: str) -> None:
        assert ContextWindow(1_000).size(conversation(text)).tokens > len(text.encode()) / 4.2


class TestRoom:
    def test_the_response_needs_its_room(self) -> None:
        window, here = ContextWindow(1_000, max_output=400), conversation("a")
        window.note(Usage(prompt_tokens=590, output_tokens=10), here)
        assert not window.is_full(window.size(here))
        window.note(Usage(prompt_tokens=590, output_tokens=11), here)
        assert window.is_full(window.size(here))

    def test_an_unknown_window_is_never_full(self) -> None:
        window = ContextWindow(None)
        assert not window.is_full(window.size(conversation("x" * 10_000_000)))
        assert not window.is_close(window.size(conversation("x" * 10_000_000)))

    def test_only_an_estimate_near_the_limit_is_worth_an_exact_count(self) -> None:
        window, here = ContextWindow(1_000, max_output=100), conversation("a")
        window.note(Usage(prompt_tokens=700, output_tokens=0), here)
        assert not window.is_close(window.size(here))
        here.append({"role": "tool", "content": "y" * 300})
        assert window.is_close(window.size(here))


class TestWhatTheCountsGiveAway:
    def test_a_growing_prompt_from_the_cache_is_as_it_should_be(self) -> None:
        assert compared(Usage(prompt_tokens=1_000), Usage(prompt_tokens=1_200, cached_tokens=1_000)) is None

    @pytest.mark.parametrize(("cached", "block"), [(999, 1), (996, 4), (896, 128)])
    def test_the_end_of_a_block_is_no_loss(self, cached: int, block: int) -> None:
        now = Usage(prompt_tokens=1_200, cached_tokens=cached)
        assert compared(Usage(prompt_tokens=1_000), now, block) is None

    def test_a_prefix_that_was_computed_again_is_counted(self) -> None:
        found = compared(Usage(prompt_tokens=1_000), Usage(prompt_tokens=1_200, cached_tokens=300))
        assert found is not None
        assert (found.kind, found.tokens) == ("prefix_lost", 700)

    def test_a_shorter_prompt_means_that_the_server_dropped_something(self) -> None:
        found = compared(Usage(prompt_tokens=4_000), Usage(prompt_tokens=3_600, cached_tokens=0))
        assert found is not None
        assert (found.kind, found.tokens) == ("truncated", 400)

    def test_a_server_that_counts_only_what_is_new_dropped_nothing(self) -> None:
        assert compared(Usage(prompt_tokens=4_000), Usage(prompt_tokens=300)) is None

    def test_nothing_is_said_where_nothing_is_reported(self) -> None:
        assert compared(Usage(), Usage(prompt_tokens=5)) is None
        assert compared(Usage(prompt_tokens=5_000), Usage(prompt_tokens=5_100)) is None

    def test_a_new_segment_is_compared_with_nothing(self) -> None:
        window, here = ContextWindow(10_000), conversation("a")
        window.note(Usage(prompt_tokens=5_000), here)
        window.begin_segment()
        assert window.note(Usage(prompt_tokens=3_000), here) is None
