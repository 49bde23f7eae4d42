"""Server-sent events out of bytes, however the bytes are cut."""

from collections.abc import AsyncGenerator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.event_stream import read_events

one_line = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n"), max_size=20)
line_ends = st.sampled_from(["\n", "\r\n", "\r"])


async def events(pieces: Sequence[bytes]) -> list[str]:
    async def come() -> AsyncGenerator[bytes]:
        for piece in pieces:
            yield piece

    return [data async for data in read_events(come())]


@given(st.lists(st.lists(one_line, min_size=1, max_size=3), max_size=5), line_ends, st.lists(st.integers(0, 300)))
async def test_the_data_of_every_event_come_whatever_the_pieces(
    written: list[list[str]], end: str, cuts: list[int]
) -> None:
    stream = "".join("".join(f"data: {line}{end}" for line in lines) + end for lines in written).encode()
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[begin:stop] for begin, stop in pairwise(places)]
    assert await events(pieces) == [data for lines in written if (data := "\n".join(lines))]


@pytest.mark.parametrize(
    "passed_over",
    [
        b": ping\n\n",
        b"retry: 3000\n\n",
        b"event: ping\n\n",
        b"id: 1\n\n",
        b"data:\n\n",
        b"data\n\n",
        b"\n\n",
        b"odd\n\n",
    ],
)
async def test_what_has_no_data_is_no_event(passed_over: bytes) -> None:
    assert await events([passed_over, b"data: a\n\n", passed_over]) == ["a"]


async def test_a_space_behind_the_colon_is_not_data_and_a_second_one_is() -> None:
    assert await events([b"data:a\n\ndata:  b\n\n"]) == ["a", " b"]


async def test_an_event_that_was_cut_off_is_none() -> None:
    assert await events([b"data: a\n\ndata: b\n"]) == ["a"]


async def test_data_that_are_no_text_are_an_error() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        await events([b"data: \xff\n\n"])
