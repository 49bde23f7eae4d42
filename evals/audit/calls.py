"""What a tool call does, whatever the tool is called: shell text, an edit, a look at a path, an address.

Tools are told apart by what they take, so that those of other harnesses are read as well. Arguments that are no JSON
were hardly run; they are read as shell text, for what they would have done.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from evals.audit.file_writes import Change

_SHELL_FIELDS = ("command", "cmd", "commands", "keys", "keystrokes", "input", "script", "bash_command")
_CODE_FIELDS = ("code", "python", "source")
_PATH_FIELDS = ("path", "file_path", "file", "filename", "target_file")
_ADDRESS_FIELDS = ("url", "uri", "href")
_CHANGES: dict[str, Change] = {
    "create": "create",
    "write": "create",
    "str_replace": "edit",
    "insert": "append",
    "undo_edit": "undo",
}
_LOOKS = ("view", "read", "open", "list")


@dataclass(frozen=True)
class Edit:
    """An edit of a file by a tool that edits. `text` is the new text."""

    path: str
    change: Change
    text: str


@dataclass
class CallContent:
    """The parts of a call. `scripts` is shell text."""

    scripts: list[str] = field(default_factory=list[str])
    code: list[str] = field(default_factory=list[str])
    edits: list[Edit] = field(default_factory=list[Edit])
    looks: list[str] = field(default_factory=list[str])
    """Paths and patterns of tools that only look."""
    addresses: list[str] = field(default_factory=list[str])


def read_call(arguments: str) -> CallContent:
    """The parts of a call with these arguments, as the model wrote them. Never fails."""
    try:
        value: Any = json.loads(arguments)
    except (ValueError, RecursionError):
        return CallContent(scripts=[arguments])
    if isinstance(value, str):
        return CallContent(scripts=[value])
    return _read_fields(cast("dict[str, Any]", value)) if isinstance(value, dict) else CallContent()


def _read_fields(fields: Mapping[str, Any]) -> CallContent:
    content = CallContent()
    path = next(_texts(fields, _PATH_FIELDS), None)
    verb = fields.get("command")
    if path is not None and isinstance(verb, str) and verb in (*_CHANGES, *_LOOKS):
        _read_edit(content, fields, path, verb)
    elif path is not None and (edit := _unnamed_edit(fields, path)):
        content.edits.append(edit)
    else:
        content.scripts += _texts(fields, _SHELL_FIELDS)
        content.code += _texts(fields, _CODE_FIELDS)
        content.looks += [path] if path is not None else []
        content.looks += _texts(fields, ("pattern", "query", "glob"))
    content.addresses += _texts(fields, _ADDRESS_FIELDS)
    return content


def _read_edit(content: CallContent, fields: Mapping[str, Any], path: str, verb: str) -> None:
    if verb in _LOOKS:
        content.looks.append(path)
        return
    old, new = _text(fields, "old_str"), _text(fields, "new_str")
    change = _CHANGES[verb]
    if change == "edit" and old and old.strip() in new:
        change = "append"
    content.edits.append(Edit(path, change, f"{new}\n{_text(fields, 'file_text')}"))


def _unnamed_edit(fields: Mapping[str, Any], path: str) -> Edit | None:
    """An edit by tools that have one for each purpose: `write_file(path, content)`, `edit(path, old, new)`."""
    old = next(_texts(fields, ("old_str", "old_string", "old_text")), None)
    new = next(_texts(fields, ("new_str", "new_string", "new_text")), None)
    if old is not None and new is not None:
        return Edit(path, "append" if old.strip() and old.strip() in new else "edit", new)
    text = next(_texts(fields, ("content", "contents", "file_text", "text")), None)
    return None if text is None else Edit(path, "create", text)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _texts(fields: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    """The strings of `fields` under `names`, those in lists included."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            listed = cast("list[Any]", value)
            if all(isinstance(one, str) for one in listed) and name in ("command", "cmd"):
                yield from [_argument_list(cast("list[str]", listed))] if listed else []
            else:
                yield from (one for one in listed if isinstance(one, str))


def _argument_list(words: list[str]) -> str:
    """A command given as a list of words, as shell text."""
    import shlex

    return shlex.join(words)
