"""Classes of characters in a search pattern, in the spelling of each program (see `tools.search_pattern`)."""

from dataclasses import dataclass

_PUNCTUATION = frozenset("\\.+*?()|[]{}^$#&-~")
"""What both Rust's `regex` and PCRE take for itself behind a backslash, and one of them for something else without."""
_EXTENDED_PUNCTUATION = frozenset("\\.+*?()|[]{}^$")
_SPECIAL = frozenset("]-^[")
"""What has a meaning of its own somewhere in a POSIX bracket."""


class PatternError(ValueError):
    """A pattern that cannot be searched for; the message says why."""


@dataclass(frozen=True)
class ClassItem:
    """One thing in a class: a range of characters, or characters that share a property."""

    rust: str
    perl: str
    extended: str | None
    """How it stands in a POSIX bracket; None where it cannot. A range is its first and its last character."""
    is_range: bool = False
    alone: str | None = None
    """How a POSIX expression says it outside of any bracket, where `extended` is None."""

    @classmethod
    def of_range(cls, first: str, last: str) -> "ClassItem":
        """The characters from `first` to `last`."""
        spelled = _escaped_in_class(first) if first == last else f"{_escaped_in_class(first)}-{_escaped_in_class(last)}"
        return cls(spelled, spelled, first + last, is_range=True)


@dataclass(frozen=True)
class Class:
    """A class as a whole."""

    items: tuple[ClassItem, ...]
    negated: bool = False

    @property
    def rust(self) -> str:
        """As Rust's `regex` reads it."""
        return f"[{self._sign}{''.join(item.rust for item in self.items)}]"

    @property
    def perl(self) -> str:
        """As PCRE reads it."""
        return f"[{self._sign}{''.join(item.perl for item in self.items)}]"

    @property
    def extended(self) -> str | None:
        """As POSIX reads it: there are no escapes in a bracket, so what is special stands where it is not."""
        if len(self.items) == 1 and self.items[0].alone and not self.negated:
            return self.items[0].alone
        parts = [_in_posix_bracket(item) for item in self.items]
        if None in parts:
            return None
        plain = "".join(part for part in parts if part and part not in _SPECIAL)
        head, tail = "]" if "]" in parts else "", "".join(sign for sign in "[^-" if sign in parts)
        if not (self.negated or head or plain) and tail.startswith("^"):
            return r"\^" if tail == "^" else "[-^]"
        return f"[{self._sign}{head}{plain}{tail}]"

    @property
    def _sign(self) -> str:
        return "^" if self.negated else ""


def escaped(character: str) -> tuple[str, str, str]:
    """One character for itself, in each of the spellings."""
    extended = f"\\{character}" if character in _EXTENDED_PUNCTUATION else character
    spelled = _escaped_in_class(character)
    return spelled, spelled, extended


def named_class(name: str) -> ClassItem | None:
    r"""The class `\w`, `\p{Lu}` or `[:alpha:]`; None where there is none of this name."""
    if name.startswith("[:"):
        return _posix(name)
    if name.startswith(("\\p{", "\\P{")):
        return _category(name)
    return _LETTERS.get(name)


def _in_posix_bracket(item: ClassItem) -> str | None:
    if not item.is_range or item.extended is None:
        return item.extended
    first, last = item.extended
    if first == last:
        return first
    return None if _SPECIAL.intersection(item.extended) else f"{first}-{last}"


def _escaped_in_class(character: str) -> str:
    if character in _PUNCTUATION:
        return f"\\{character}"
    return character if character >= " " and character != "\x7f" else f"\\x{ord(character):02x}"


_LETTERS = {
    "\\d": ClassItem("\\d", "\\p{Nd}", "0-9"),
    "\\D": ClassItem("\\D", "\\P{Nd}", None, alone="[^0-9]"),
    "\\w": ClassItem("\\w", "\\w", "[:alnum:]_"),
    "\\W": ClassItem("\\W", "\\W", None, alone="[^[:alnum:]_]"),
    "\\s": ClassItem("\\s", "\\s", "[:space:]"),
    "\\S": ClassItem("\\S", "\\S", None, alone="[^[:space:]]"),
}

_CATEGORIES = frozenset({
    "L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps", "Pe", "Pi",
    "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "C", "Cc", "Cf", "Co",
})  # fmt: skip
_EXTENDED_CATEGORIES = {"L": "alpha", "Lu": "upper", "Ll": "lower"}


def _category(name: str) -> ClassItem | None:
    category = name[3:-1]
    if category not in _CATEGORIES:
        return None
    posix = _EXTENDED_CATEGORIES.get(category)
    if posix and name[1] == "p":
        return ClassItem(name, name, f"[:{posix}:]")
    return ClassItem(name, name, None, alone=f"[^[:{posix}:]]" if posix else None)


# In Rust's `regex` these are ASCII, elsewhere they are what the locale says: hence spelled out, where they can be.
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": "\t ",
    "digit": "0-9",
    "lower": "a-z",
    "space": "\t\x0b\x0c\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}


def _posix(name: str) -> ClassItem | None:
    if name == "[:punct:]":
        return ClassItem(name, "!-\\/:-@\\[-`{-~", name)
    ranges = _POSIX.get(name[2:-2])
    if ranges is None:
        return None
    spelled = "".join(character if character >= " " else f"\\x{ord(character):02x}" for character in ranges)
    return ClassItem(name, spelled, ranges)
