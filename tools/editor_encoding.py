"""In what encoding a text file is, so that it is read, and written back, in that one.

A byte order mark says it (UTF-8, UTF-16, UTF-32), or the text itself does: the coding cookie of PEP 263, which Ruby
and Emacs read too, or an XML declaration. Everything else is UTF-8, and each byte that is none is kept as it is
(PEP 383, `surrogateescape`). A declaration is believed where the bytes agree with it: they can be read so and come out
the same, and they are not UTF-8 already.
"""

import codecs
import encodings
import re
from dataclasses import dataclass
from encodings.aliases import aliases

_HEAD = 1024
"""Bytes at the beginning of a file among which a declaration is looked for."""
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-_.a-zA-Z0-9]{1,40})")
_COMMENT_OR_NOTHING = re.compile(rb"^[ \t\f]*(?:#|\r?$)")
_XML = re.compile(rb"^<\?xml\b[^>]{0,200}?\bencoding\s*=\s*[\"']([-_.:a-zA-Z0-9]{1,40})[\"']")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Those that keep no state from one character to the next, by Python's names of their modules. Not the others that
# Python has: some are no character encodings (`punycode`), and take time that grows with the square of the text.
_TAKEN_AT_ITS_WORD = re.compile(
    r"ascii|latin_1|iso8859_\d{1,2}|cp\d{3,4}|koi8_[rtu]|kz1048|ptcp154|hp_roman8|tis_620|mac_\w{1,12}"
    r"|gb2312|gbk|gb18030|big5(?:hkscs)?|shift_jis(?:x0213|_2004)?|euc_(?:jp|kr|jis_2004|jisx0213)|johab"
)
_ASCII = bytes(range(128))


class UnspellableError(ValueError):
    """A character that the file's encoding has no bytes for."""

    def __init__(self, character: str, encoding: str) -> None:
        super().__init__(f"{character} has no place in {encoding}")
        self.character = character
        self.encoding = encoding


@dataclass(frozen=True)
class Encoding:
    """How the bytes of one file and its text belong together."""

    codec: str
    mark: bytes = b""
    """The byte order mark at the beginning of the file."""
    label: str = ""
    """What the file itself calls its encoding, where it does."""
    codec_of_new_text: str = ""
    """Another codec than that of the file, where the file's declaration and its bytes do not agree."""

    @property
    def is_wide(self) -> bool:
        """Whether NUL bytes are a part of ordinary text."""
        return self.codec.startswith(("utf-16", "utf-32"))

    def bytes_of(self, text: str) -> bytes:
        """The bytes from which `text`, taken from the file, was read."""
        return text.encode(self.codec, "strict" if self.is_wide else "surrogateescape")

    def text_of(self, data: bytes) -> str:
        """Read bytes that begin and end with a character, and hold no mark."""
        return data.decode(self.codec, "strict" if self.is_wide else "surrogateescape")

    def spell(self, text: str) -> bytes:
        """The bytes for new text. Raises UnspellableError."""
        try:
            return text.encode(self.codec_of_new_text or self.codec)
        except UnicodeEncodeError as error:
            raise UnspellableError(text[error.start], self.label or self.codec) from None


@dataclass(frozen=True)
class Reading:
    """A file, read: every byte of it is in `text`, those that mean nothing as lone surrogates."""

    encoding: Encoding
    text: str
    is_exact: bool
    """Whether every byte means something."""


def read(data: bytes) -> Reading:
    """Read a file. Never fails: what is nothing else is UTF-8 with bytes that are none."""
    if (marked := _read_marked(data)) is not None:
        return marked
    label = _declared(data[:_HEAD])
    codec = _codec(label) if label else None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return (codec and _read_declared(data, codec, label)) or _lenient(data, Encoding("utf-8"))
    # Pure ASCII is the same in both; what is UTF-8 beyond that is so by nobody's accident.
    return Reading(Encoding(codec, label=label) if codec and text.isascii() else Encoding("utf-8"), text, is_exact=True)


def encoding_for(text: str) -> Encoding:
    """The encoding for a new file: what its text declares, or UTF-8."""
    head = text[:_HEAD].encode("utf-8", "surrogatepass")
    codec = _codec(label) if (label := _declared(head)) else None
    return Encoding(codec, label=label) if codec else Encoding("utf-8")


def _read_marked(data: bytes) -> Reading | None:
    for mark, codec in _MARKS:
        if data.startswith(mark):
            body = data[len(mark) :]
            encoding = Encoding(codec, mark)
            if not encoding.is_wide:
                return _lenient(body, encoding)
            try:
                text = body.decode(codec)
            except UnicodeDecodeError:
                continue
            if "\0" not in text:
                return Reading(encoding, text, is_exact=True)
    return None


def _read_declared(data: bytes, codec: str, label: str) -> Reading:
    reading = _lenient(data, Encoding(codec, label=label))
    if reading.encoding.bytes_of(reading.text) == data:
        return reading
    # New text in what the file declares would be right, but for its place among bytes that are something else.
    return _lenient(data, Encoding("utf-8", label=label, codec_of_new_text="ascii"))


def _lenient(data: bytes, encoding: Encoding) -> Reading:
    try:
        return Reading(encoding, data.decode(encoding.codec), is_exact=True)
    except UnicodeDecodeError:
        return Reading(encoding, data.decode(encoding.codec, "surrogateescape"), is_exact=False)


def _declared(head: bytes) -> str:
    """What the beginning of a file calls its encoding; empty when it says nothing."""
    lines = head.split(b"\n", 2)[:2]
    found = _XML.match(head) or _COOKIE.match(lines[0])
    if not found and len(lines) > 1 and _COMMENT_OR_NOTHING.match(lines[0]):
        found = _COOKIE.match(lines[1])
    return found[1].decode() if found else ""


def _codec(label: str) -> str | None:
    """Python's name of a declared encoding, if it is one that extends ASCII and that we take at its word."""
    name = re.sub(r"-(?:unix|dos|mac)$", "", label.lower())  # Emacs adds how lines end
    name = encodings.normalize_encoding(name)
    module = aliases.get(name, name)
    if not _TAKEN_AT_ITS_WORD.fullmatch(module):
        return None
    try:
        return module if _ASCII.decode(module) == _ASCII.decode() else None
    except (LookupError, UnicodeDecodeError):
        return None
