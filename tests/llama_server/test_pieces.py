"""Replies are cut so that a server finds the same pieces again, and each says alone what comes next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_server.pieces import MARKUP, THINK, CannotCutError, by_length, cut_all, split
from llama_server.replies import Call, Reply

TEXT = st.text(st.sampled_from("ab \nü<>/=&\"'") | st.characters(exclude_categories=["Cs"]), max_size=80)
REPLIES = st.lists(
    st.builds(
        Reply, TEXT, TEXT,
        st.lists(st.builds(Call, st.just("bash"), st.dictionaries(st.just("command"), TEXT))).map(tuple),
    ),
    min_size=1, max_size=5,
)  # fmt: skip


@given(replies=REPLIES, length=st.integers(1, 40))
def test_pieces_are_the_reply_and_each_occurs_once(replies: list[Reply], length: int):
    try:
        cut = cut_all([reply.texts for reply in replies], length)
    except CannotCutError:  # two replies say the same, or too little
        return
    pieces = [piece for each in cut for part in each for piece in part]

    assert [tuple(map("".join, each)) for each in cut] == [tuple(reply.texts) for reply in replies]
    assert len(set(pieces)) == len(pieces)
    for each in cut:
        told = each.tokens
        assert split("".join(told), by_length([*MARKUP, *pieces])) == told


def test_pieces_are_as_short_as_asked_for_where_that_is_unambiguous():
    texts = Reply("one two three four five six seven").texts

    assert cut_all([texts], 8)[0].thought == ("one two ", "three fo", "ur five ", "six seven")


def test_numbered_replies_that_contain_each_other_are_told_apart():
    replies = [Reply(f"Step {n}", calls=(Call("bash", {"command": f"echo {n}"}),)) for n in range(1, 120)]

    cut = cut_all([reply.texts for reply in replies], 12)

    assert len({each.thought[0] for each in cut}) == len({each.called[0] for each in cut}) == len(replies)


def test_what_two_replies_both_say_is_refused_by_name():
    with pytest.raises(CannotCutError, match=r"reply 2, thought: 'I see it\.' is too short, or said elsewhere"):
        cut_all([Reply("I see it.").texts, Reply("I see it.").texts], 12)


def test_longest_token_is_found_first():
    assert split(f"a{THINK}b", by_length(["<", THINK, "k>b"])) == ["a", THINK, "b"]
