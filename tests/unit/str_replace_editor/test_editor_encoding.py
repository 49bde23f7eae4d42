"""In which encoding a file is read and written."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tools import editor_encoding
from tools.editor_encoding import UnspellableError
from tools.file_text import FileText


@pytest.mark.parametrize(
    ("data", "codec"),
    [
        (b"", "utf-8"),
        (b"# coding: latin-1\n\xe9", "latin_1"),
        (b"#!/bin/sh\n# -*- coding: iso-8859-15 -*-\n", "iso8859_15"),
        (b"\r\n# vim:fileencoding=cp1252\r\n\x80", "cp1252"),
        (b"<?xml version='1.0' encoding='ISO-8859-1'?><a/>", "latin_1"),
        (b"x = 1\n# coding: latin-1\n\xe9", "utf-8"),  # too late: not among the first two lines of comments
        (b"\n\n# coding: latin-1\n\xe9", "utf-8"),
        ("# coding: latin-1\né".encode(), "utf-8"),  # a lie
        (b"# coding: utf-8\n", "utf-8"),
        (b"# coding: nonsense\n", "utf-8"),
        (b"# coding: punycode\n", "utf-8"),
        (b"# coding: unicode_escape\n\\x41", "utf-8"),
        (b"# coding: cp037\n", "utf-8"),  # no extension of ASCII
        (b"# coding: utf-16\n", "utf-8"),
        (b"\xef\xbb\xbf# coding: latin-1\n", "utf-8"),
        (b"\xff\xfea\0", "utf-16-le"),
        (b"\xff\xfea\0\0\0", "utf-8"),  # a NUL character: no text
        (b"\xff\xfe\0\xd8", "utf-8"),  # half of a character
        (b"\xff\xfea", "utf-8"),
    ],
)
def test_the_encoding_is_what_mark_or_text_say_where_the_bytes_agree(data: bytes, codec: str) -> None:
    assert editor_encoding.read(data).encoding.codec == codec


def test_a_declaration_that_the_bytes_belie_lets_nothing_be_added_but_ascii() -> None:
    data = b"# coding: cp932\n\x87\x90\n"  # one of two spellings of a character, and not the one that Python writes
    text = FileText(data)
    with pytest.raises(UnspellableError, match="cp932"):
        text.insert(1, "言葉")
    assert text.insert(1, "ascii").apply(data) == b"# coding: cp932\nascii\n\x87\x90\n"


_CODECS = st.sampled_from(
    [
        (b"", "utf-8", ""),
        (b"\xef\xbb\xbf", "utf-8", ""),
        (b"\xff\xfe", "utf-16-le", ""),
        (b"\xfe\xff", "utf-16-be", ""),
        (b"\0\0\xfe\xff", "utf-32-be", ""),
        (b"", "latin-1", "# coding: latin-1\n"),
        (b"", "koi8-r", "# coding: koi8-r\n"),
        (b"", "shift_jis", "# coding: shift_jis\n"),
        (b"", "gb18030", "# coding: gb18030\n"),
    ]
)
_TEXTS = st.lists(
    st.one_of(st.sampled_from(["\n", "\t", "a", "é", "я", "文", "語", "🙂", "~", "\\"]), st.text(max_size=3)),
    max_size=30,
).map("".join)


@given(encoding=_CODECS, body=_TEXTS, new=_TEXTS, data=st.data())
def test_a_replacement_in_any_encoding_is_the_one_of_the_text(
    encoding: tuple[bytes, str, str], body: str, new: str, data: st.DataObject
) -> None:
    mark, codec, first = encoding
    text = first + body.replace("\r", "").replace("\0", "").replace("\ufffd", "")
    new = new.replace("\r", "").replace("\0", "").replace("\ufffd", "")
    try:
        before, _ = mark + text.encode(codec), new.encode(codec)
    except UnicodeEncodeError:
        assume(False)
        return
    opened = FileText(before)
    assume(opened.encoding.mark == mark and opened.shown == text)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    splice = opened.replace(start, end, new)
    after = splice.apply(before)
    spelled = new.encode(opened.encoding.codec)
    assert after == mark + text[:start].encode(codec) + spelled + text[end:].encode(codec)
    assert splice.reverse().apply(after) == before


_PIECES = st.lists(st.sampled_from([b"one", b"two", b"\xe9", b"\xff", b"\r\n", b"\n", b"\n", b"x"]), max_size=24)


@given(content=_PIECES, data=st.data())
def test_lines_that_are_quoted_unchanged_keep_every_byte(content: list[bytes], data: st.DataObject) -> None:
    before = b"".join(content)
    text = FileText(before)
    lines = text.shown.split("\n")
    first = data.draw(st.integers(0, len(lines) - 1))
    last = data.draw(st.integers(first, len(lines) - 1))
    start = sum(len(line) + 1 for line in lines[:first])
    quoted = lines[first : last + 1]
    raw = before.split(b"\n")
    # A first and a last line that are new, so that all others are in the middle of what is replaced.
    after = text.replace(start, start + len("\n".join(quoted)), "\n".join(["NEW", *quoted, "END"])).apply(before)
    kept = after.split(b"\n")
    *inner, end = kept[first + 1 : first + 1 + len(quoted)]
    assert inner == raw[first:last]
    assert end.removesuffix(b"\r") == raw[last].removesuffix(b"\r")  # which may have had no line end before
    assert kept[:first] == raw[:first]
    assert kept[first + len(quoted) + 2 :] == raw[last + 1 :]
