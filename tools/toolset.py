"""Named, ordered sets of tools. The order is part of the prompt, and the name is part of a score's definition.

A name says which parts a set has, joined by `+`: `bash`, `bash+editor`, `editor-strings+search`. There is one
spelling for each set, whatever was typed, and one order of its tools.
"""

import difflib
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tools.bash import Bash
from tools.tool import Tool, definition

Toolset = Sequence[Tool[Any]]

DEFAULT_TOOLSET = "bash+editor"

EDITORS = ("editor", "editor-strings")
"""Of these at most one. `editor-strings` takes nothing but strings and integers, which some templates need."""
ADDITIONS = ("search", "terminal", "vision", "todo", "submit")
"""What may be added to any set."""

_PARTS = ("bash", *EDITORS, *ADDITIONS)
_SPELLING = (
    "bash, bash+editor or editor-strings; with +search, +terminal, +vision, +todo and +submit behind it, or alone "
    "for an addition to bash+editor"
)


def toolset_name(name: str) -> str:
    """Spell the name of a set as it is recorded. Raises ValueError for a name that is none.

    What names only additions, such as `+search` or `submit`, adds them to the default.
    """
    parts = name.removeprefix("+").split("+")
    if unknown := [part for part in parts if part not in _PARTS]:
        raise ValueError(_explain_unknown(name, unknown[0]))
    if name.startswith("+") or not {"bash", *EDITORS}.intersection(parts):
        parts = [*DEFAULT_TOOLSET.split("+"), *parts]
    if twice := [part for part in _PARTS if parts.count(part) > 1]:
        message = f"the toolset {name!r} has {twice[0]} twice"
        raise ValueError(message)
    editors = [part for part in EDITORS if part in parts]
    if len(editors) > 1:
        message = f"the toolset {name!r} has two editors: choose one of {' and '.join(EDITORS)}"
        raise ValueError(message)
    base = {"editor": DEFAULT_TOOLSET, "editor-strings": "editor-strings"}[editors[0]] if editors else "bash"
    return "+".join([base, *(part for part in ADDITIONS if part in parts)])


def make_toolset(name: str) -> Toolset:
    """Make the tools of a set, fresh ones: an editor remembers one agent's edits.

    Raises ValueError for a name that is none.
    """
    parts = toolset_name(name).split("+")
    if parts[0] == "editor-strings":
        parts.insert(0, "bash")
    return tuple(tool for part in parts for tool in _FACTORIES[part]())


def definitions(toolset: Toolset) -> list[dict[str, Any]]:
    """What the model sees of a set, as the OpenAI protocol spells it."""
    return [definition(tool) for tool in toolset]


def toolset_sha256(toolset: Toolset) -> str:
    """The hash of what the model sees of a set, for a manifest."""
    text = json.dumps(definitions(toolset), ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _editor() -> Iterable[Tool[Any]]:
    from tools.str_replace_editor import StrReplaceEditor

    yield StrReplaceEditor()


def _editor_strings() -> Iterable[Tool[Any]]:
    from tools.editor_strings import EditorStrings

    yield EditorStrings()


def _search() -> Iterable[Tool[Any]]:
    from tools.search import Glob, Grep

    yield Grep()
    yield Glob()


def _terminal() -> Iterable[Tool[Any]]:
    from tools.background import Background
    from tools.terminal import InteractiveTerminal

    yield Background()
    yield InteractiveTerminal()


def _vision() -> Iterable[Tool[Any]]:
    from tools.vision import ViewPicture

    yield ViewPicture()


def _todo() -> Iterable[Tool[Any]]:
    from tools.todo import Todo

    yield Todo()


def _submit() -> Iterable[Tool[Any]]:
    from tools.submit import Submit

    yield Submit()


_FACTORIES: dict[str, Callable[[], Iterable[Tool[Any]]]] = {
    "bash": lambda: (Bash(),),
    "editor": _editor,
    "editor-strings": _editor_strings,
    "search": _search,
    "terminal": _terminal,
    "vision": _vision,
    "todo": _todo,
    "submit": _submit,
}


def _explain_unknown(name: str, part: str) -> str:
    near = difflib.get_close_matches(part.strip().lower(), _PARTS, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    culprit = "" if part == name else ", for it has an empty part" if not part else f", for there is no part {part!r}"
    return f"there is no toolset {name!r}{culprit}{meant}; there are: {_SPELLING}"
