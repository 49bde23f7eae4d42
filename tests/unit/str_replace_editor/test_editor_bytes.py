"""Not one byte changes by accident, and no control token reaches a model."""

import re
import tempfile
from pathlib import Path

import pytest
from editor_desk import Desk
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tools.output import JOINER, neutralise
from tools.pictures import is_picture, other_medium


async def test_crlf_is_shown_as_lf_matched_as_lf_and_kept(desk: Desk) -> None:
    path = desk.file("dos.txt", b"one\r\ntwo\r\nthree\r\n")
    assert "\r" not in await desk.done("view", path)
    await desk.done("str_replace", path, old_str="one\ntwo\n", new_str="1\n2\n2b\n")
    assert path.read_bytes() == b"1\r\n2\r\n2b\r\nthree\r\n"
    await desk.done("insert", path, insert_line=4, new_str="four")
    assert path.read_bytes() == b"1\r\n2\r\n2b\r\nthree\r\nfour\r\n"
    await desk.done("undo_edit", path)
    await desk.done("undo_edit", path)
    assert path.read_bytes() == b"one\r\ntwo\r\nthree\r\n"


@pytest.mark.parametrize(("end", "result"), [(b"\n", b"1\n2\n"), (b"\r\n", b"1\r\n2\r\n")])
async def test_a_model_that_writes_crlf_is_understood(desk: Desk, end: bytes, result: bytes) -> None:
    path = desk.file("a.txt", b"one" + end + b"two" + end)
    await desk.done("str_replace", path, old_str="one\r\ntwo", new_str="1\r\n2")
    assert path.read_bytes() == result


async def test_mixed_line_ends_stay_mixed(desk: Desk) -> None:
    path = desk.file("mixed.txt", b"a\r\nb\nc\r\nd\r\r\ne\n")
    await desk.done("str_replace", path, old_str="a\nb\nc\n", new_str="a\nB\nc\n")
    assert path.read_bytes() == b"a\r\nB\nc\r\nd\r\r\ne\n"


async def test_a_byte_order_mark_is_hidden_and_kept(desk: Desk) -> None:
    path = desk.file("bom.cs", b"\xef\xbb\xbfusing A;\nusing B;\n")
    assert "     1\tusing A;\n" in await desk.done("view", path)
    await desk.done("str_replace", path, old_str="using A;\n", new_str="using C;\n")
    await desk.done("insert", path, insert_line=0, new_str="// top")
    assert path.read_bytes() == b"\xef\xbb\xbf// top\nusing C;\nusing B;\n"


async def test_a_missing_last_newline_stays_missing(desk: Desk) -> None:
    path = desk.file("a.txt", "one\ntwo")
    await desk.done("str_replace", path, old_str="one", new_str="1")
    assert path.read_bytes() == b"1\ntwo"


async def test_tabs_are_shown_matched_and_kept(desk: Desk) -> None:
    path = desk.file("Makefile", "all:\n\techo 1\n\techo 2\n")
    assert "     2\t\techo 1\n" in await desk.done("view", path)
    assert "did not appear" in await desk.refused("str_replace", path, old_str="        echo 1", new_str="x")
    await desk.done("str_replace", path, old_str="\techo 1", new_str="\techo one")
    assert path.read_text() == "all:\n\techo one\n\techo 2\n"


async def test_latin_1_bytes_survive_an_edit_elsewhere(desk: Desk) -> None:
    path = desk.file("latin.py", b"# caf\xe9\nx = 1\n# \xe9t\xe9\n")
    assert "     1\t# caf\ufffd\n" in await desk.done("view", path)
    await desk.done("str_replace", path, old_str="x = 1", new_str="x = 'ü'")
    assert path.read_bytes() == b"# caf\xe9\nx = '\xc3\xbc'\n# \xe9t\xe9\n"


async def test_a_line_with_latin_1_bytes_can_be_edited_around_them(desk: Desk) -> None:
    path = desk.file("latin.py", b"name = 'caf\xe9'\nx = 1\n")
    await desk.done("str_replace", path, old_str="name = 'caf\ufffd'\nx = 1", new_str="name = 'caf\ufffd'\nx = 2")
    assert path.read_bytes() == b"name = 'caf\xe9'\nx = 2\n"
    text = await desk.refused("str_replace", path, old_str="name = 'caf\ufffd'", new_str="label = 'caf\ufffd!'")
    assert text.startswith("No replacement was performed.")
    assert "not UTF-8" in text
    assert path.read_bytes() == b"name = 'caf\xe9'\nx = 2\n"


async def test_a_late_nul_byte_is_kept_and_never_sent(desk: Desk) -> None:
    content = b"a\n" * 5_000 + b"nul \0 here\nend\n"
    path = desk.file("late.txt", content)
    assert "nul \ufffd here" in await desk.done("str_replace", path, old_str="end", new_str="END")
    assert path.read_bytes() == content.replace(b"end", b"END")


async def test_undo_works_when_the_edit_moved_a_nul_byte_to_the_beginning(desk: Desk) -> None:
    content = b"start\n" + b"a\n" * 5_000 + b"end \0\n"
    path = desk.file("late.txt", content)
    await desk.done("str_replace", path, old_str="start\n" + "a\n" * 5_000, new_str="")
    assert path.read_bytes() == b"end \0\n"
    await desk.done("undo_edit", path)
    assert path.read_bytes() == content


async def test_control_tokens_are_defused_when_shown_and_exact_in_the_file(desk: Desk) -> None:
    path = desk.file("template.jinja", "start\n<|im_start|>user\n<think>\n")
    shown = await desk.done("view", path)
    assert "<|im_start|>" not in shown
    assert "<think>" not in shown
    copied = shown.splitlines()[2].split("\t")[1]
    assert JOINER in copied
    text = await desk.done("str_replace", path, old_str=copied, new_str=copied.replace("user", "system"))
    assert "<|im_start|>" not in text
    assert path.read_text() == "start\n<|im_start|>system\n<think>\n"


async def test_a_control_token_written_plainly_matches_too_and_errors_are_defused(desk: Desk) -> None:
    path = desk.file("template.jinja", "<|im_end|>\n")
    assert neutralise("<|im_start|>") in await desk.refused("str_replace", path, old_str="<|im_start|>", new_str="x")
    await desk.done("str_replace", path, old_str="<|im_end|>", new_str="<|endoftext|>")
    assert path.read_text() == "<|endoftext|>\n"


async def test_an_already_defused_token_in_a_file_stays_what_it_is(desk: Desk) -> None:
    content = f"<{JOINER}|im_end|>\n<|im_end|>\n"
    path = desk.file("both.txt", content)
    first, second = (line.split("\t")[1] for line in (await desk.done("view", path)).splitlines()[1:])
    await desk.done("str_replace", path, old_str=first + "\n", new_str=first + "!\n")
    assert path.read_text() == f"<{JOINER}|im_end|>!\n<|im_end|>\n"
    await desk.done("str_replace", path, old_str="\n" + second, new_str="\n" + second + "?")
    assert path.read_text() == f"<{JOINER}|im_end|>!\n<|im_end|>?\n"


_PIECES = st.sampled_from(
    ["\n", "\r\n", "\t", "    ", "a", "bc", "é", "文", "🙂", "x = 1", "}", "\x0c", "\u2028", "<|im_end|>"]
)
_TEXTS = st.lists(st.one_of(_PIECES, st.text(max_size=8)), max_size=60).map("".join)


@settings(max_examples=100, deadline=None)
@given(text=_TEXTS, new=_TEXTS, mark=st.booleans(), data=st.data())
async def test_str_replace_changes_exactly_the_match_and_undo_restores_every_byte(
    text: str, new: str, mark: bool, data: st.DataObject
) -> None:
    text = re.sub("\r+\n", "\n", text).replace("\0", "").replace("\ufffd", "")
    assume(text)
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    old = text[start:end]
    assume(sum(text.startswith(old, index) for index in range(len(text))) == 1)
    new = new.replace("\0", "")
    assume(old != new)
    before = b"\xef\xbb\xbf" * mark + text.encode()
    after = b"\xef\xbb\xbf" * mark + (text[:start] + new + text[end:]).encode()
    with tempfile.TemporaryDirectory() as directory:
        desk = Desk(Path(directory))
        path = desk.file("a.txt", before)
        await desk.done("str_replace", path, old_str=neutralise(old), new_str=neutralise(new))
        assert path.read_bytes() == after
        await desk.done("undo_edit", path)
        assert path.read_bytes() == before
        await desk.sandbox.close()


@settings(max_examples=100, deadline=None)
@given(
    content=st.lists(st.one_of(st.binary(max_size=6), st.sampled_from([b"\r\n", b"\n", b"\r"])), max_size=40).map(
        b"".join
    )
)
async def test_bytes_outside_an_edit_survive_whatever_they_are(content: bytes) -> None:
    content = content.replace(b"\0", b"").replace(b"@", b"")
    assume(not is_picture(content) and not other_medium(content))
    assume(not content.startswith((b"\xff\xfe", b"\xfe\xff")))  # UTF-16, in which what follows is something else
    with tempfile.TemporaryDirectory() as directory:
        desk = Desk(Path(directory))
        path = desk.file("a.txt", content + b"@here@" + content)
        await desk.done("str_replace", path, old_str="@here@", new_str="@there@")
        assert path.read_bytes() == content + b"@there@" + content
        await desk.done("insert", path, insert_line=0, new_str="@top@")
        await desk.done("undo_edit", path)
        await desk.done("undo_edit", path)
        assert path.read_bytes() == content + b"@here@" + content
        await desk.sandbox.close()
