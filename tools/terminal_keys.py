"""Keys in writing: text is typed as it is, and `<Enter>` or `<C-c>` is a key.

The notation is vim's; the names that tmux has for keys are understood too. Only what names a key is one, so that
`#include <stdio.h>` or `<div>` can be typed without care; `<lt>` is a `<` where it must be.
"""

import re

_ESCAPE = "\x1b"
_NAMED = {
    "enter": "\r",
    "return": "\r",
    "cr": "\r",
    "tab": "\t",
    "esc": _ESCAPE,
    "escape": _ESCAPE,
    "space": " ",
    "bs": "\x7f",
    "bspace": "\x7f",
    "backspace": "\x7f",
    "lt": "<",
}
_CURSOR_KEYS = {"up": "A", "down": "B", "right": "C", "left": "D", "home": "H", "end": "F"}
"""Keys that are sent otherwise after a program has asked for it (DECCKM)."""
_NUMBERED_KEYS = {
    **dict.fromkeys(("insert", "ic"), 2),
    **dict.fromkeys(("del", "delete", "dc"), 3),
    **dict.fromkeys(("pageup", "pgup", "ppage"), 5),
    **dict.fromkeys(("pagedown", "pgdn", "npage"), 6),
    **{f"f{number}": code for number, code in enumerate((15, 17, 18, 19, 20, 21, 23, 24), start=5)},
}
_FIRST_FUNCTION_KEYS = {"f1": "P", "f2": "Q", "f3": "R", "f4": "S"}
_MODIFIERS = {"s": 1, "m": 2, "a": 2, "c": 4}
"""As xterm counts them: shift 1, alt 2, control 4."""

_KEY = re.compile(r"<((?:[CMAS]-)*)([A-Za-z][A-Za-z0-9]*|[^\s<>]|<(?=>))>", re.IGNORECASE)
_TMUX_NAMES = (
    {"Enter", "Escape", "Tab", "BTab", "BSpace", "Space", "Delete", "DC", "Insert", "IC", "Up", "Down", "Left", "Right"}
    | {"Home", "End", "PageUp", "PgUp", "PPage", "PageDown", "PgDn", "NPage"}
    | {f"F{number}" for number in range(1, 13)}
)
_TMUX_SPELLING = {name.lower(): name for name in _TMUX_NAMES}
_WITH_MODIFIER = re.compile(r"(?:[CMS]-)+(?P<key>\S+)|\^(?P<letter>\S)")


def encode(keys: str, *, application_cursor: bool = False) -> bytes:
    """Give the bytes that a terminal sends for what is written in `keys`.

    `application_cursor` is whether the program has asked for the other spelling of the arrow keys. A line break is
    the Enter key.
    """
    text = bare_key(keys) or keys.replace("\r\n", "\r").replace("\n", "\r")
    encoded = _KEY.sub(lambda match: _key(match[1], match[2], application_cursor) or match[0], text)
    return encoded.encode("utf-8", "replace")


def encode_verbatim(keys: str, *, application_cursor: bool = False) -> bytes:
    """Give the bytes that tmux's `send-keys` sends for one argument: text as it is, unless it is the name of a key.

    Names may be in small letters there. A line break is the character that it is, which a shell takes for Enter as
    well.
    """
    if key := bare_key(_TMUX_SPELLING.get(keys.lower(), keys)):
        return encode(key, application_cursor=application_cursor)
    return keys.encode("utf-8", "replace")


def bare_key(keys: str) -> str:
    """Write a lone key in tmux's spelling (`C-c`, `Enter`) in ours; empty when `keys` is anything else.

    A word is taken for a key only if it is all there is, and spelled as tmux spells the key: `Enter`, and not `enter`.
    """
    match = _WITH_MODIFIER.fullmatch(keys)
    if not match and keys not in _TMUX_NAMES:
        return ""
    written = f"<C-{keys[1:]}>" if match and match["letter"] else f"<{keys}>"
    key = _KEY.fullmatch(written)
    return written if key and _key(key[1], key[2], False) is not None else ""


def _key(modifiers: str, name: str, application_cursor: bool) -> str | None:
    """The characters of a key; None when there is no such key."""
    pressed = 0
    for letter in modifiers.lower().split("-")[:-1]:
        pressed |= _MODIFIERS[letter]
    lower = name.lower()
    if lower in _CURSOR_KEYS:
        if pressed:
            return f"{_ESCAPE}[1;{pressed + 1}{_CURSOR_KEYS[lower]}"
        return f"{_ESCAPE}{'O' if application_cursor else '['}{_CURSOR_KEYS[lower]}"
    if lower in _FIRST_FUNCTION_KEYS:
        final = _FIRST_FUNCTION_KEYS[lower]
        return f"{_ESCAPE}[1;{pressed + 1}{final}" if pressed else f"{_ESCAPE}O{final}"
    if lower in _NUMBERED_KEYS:
        modified = f";{pressed + 1}" if pressed else ""
        return f"{_ESCAPE}[{_NUMBERED_KEYS[lower]}{modified}~"
    if lower in ("btab", "tab") and (pressed == _MODIFIERS["s"] or lower == "btab"):
        return f"{_ESCAPE}[Z"
    if lower in _NAMED:
        return _modified(_NAMED[lower], pressed)
    return _modified(name, pressed) if len(name) == 1 and pressed else None


def _modified(character: str, pressed: int) -> str | None:
    if pressed & _MODIFIERS["s"] and character.isalpha():
        character = character.upper()
    if pressed & _MODIFIERS["c"]:
        if character == " ":
            character = "\0"
        elif character == "?":
            character = "\x7f"
        elif character == "/":
            character = "\x1f"
        elif character.isascii() and "@" <= character.upper() <= "_":
            character = chr(ord(character.upper()) & 0x1F)
        elif character.isprintable():
            return None
    return _ESCAPE + character if pressed & _MODIFIERS["m"] else character
