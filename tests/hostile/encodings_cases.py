"""Bytes that are no text, and text that is more than it seems."""

from hostile.case import Case

CASES = [
    Case("no UTF-8", "printf 'a\\377\\376b\\n'", says=("a\\xff\\xfeb",)),
    Case("UTF-16", "printf 'hi\\n' | iconv -t UTF-16; echo; echo over", exit=0, says=("over",)),
    Case("Latin-1", "printf 'caf\\351\\n'", says=("caf\\xe9",)),
    Case("a NUL", "printf 'a\\0b\\n'", says=("a\\x00b",), never=("\0",)),
    Case("a character in pieces", "printf '\\xf0\\x9f'; sleep 0.3; printf '\\x99\\x82\\n'", says=("🙂",)),
    Case("a name that is no UTF-8", "touch $'caf\\351'; ls; rm $'caf\\351'", says=("caf\\xe9",)),
    Case("emoji and marks in the command", "word='grüße 🙂 é'; printf '%s|' $word", says=("grüße|🙂|é|",)),
    Case("another locale", "export LC_ALL=de_DE.ISO-8859-1 LANG=xx; printf 'grüße\\n'", says=("grüße",)),
    Case("text from right to left", "printf 'safe \\u202e gnp.exe\\n'", never=("\u202e",)),
    Case("invisible tags", "printf 'a\\xf3\\xa0\\x81\\x81b\\n'", says=("a", "b")),
    Case("half a surrogate", "printf '\\xed\\xa0\\x80\\n'", says=("\\xed\\xa0\\x80",)),
    Case("8-bit controls", "printf 'a\\xc2\\x9b31mb\\n'", never=("\x9b",)),
]
