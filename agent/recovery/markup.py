"""Finds tool calls that a model wrote as text, in the two forms that Qwen's and Hermes's templates teach.

`<tool_call><function=NAME><parameter=KEY>\nVALUE\n</parameter>…</function></tool_call>`, also without its first tag,
which Qwen3-Coder is known to forget (ollama/ollama#16686), and `<tool_call>{"name": …, "arguments": {…}}</tool_call>`.

The XML escapes nothing, so a value may hold the very tags that end it. What is found is therefore either what was
written or reported as cut: wherever the tags do not add up, everything from the call on counts as unreadable.
The time is linear in the text.
"""

import json
import re
from collections.abc import Container
from dataclasses import dataclass

from agent.recovery.quotation import Unquoted, outside_code

Parameters = tuple[tuple[str, str], ...]
"""The parameters of a call in XML, each value with everything that stands between its tags."""

_NAME = r"[^<>\s]{1,128}"
_MARK = outside_code(rf"(?P<wrapper><tool_call>)|<function=(?P<name>{_NAME})>|(?P<closing></function>)")
_FUNCTION = re.compile(rf"<function=(?P<name>{_NAME})>")
_PARAMETER = re.compile(rf"<parameter=({_NAME})>")
_PARAMETER_TAG = re.compile(rf"<parameter=({_NAME})>|</parameter>")
_BODY = re.compile(r"\s*+(?:<parameter=|</function>|(?:<[/a-z]*+)?\Z)")
"""What follows the name of a function that is called; prose that only names it goes on otherwise."""
_BEHIND_VALUE = re.compile(rf"\s*+(?:<parameter={_NAME}>|</function>)")
_JSON_TOKEN = re.compile(r"""\s*+([{}\[\],:]|"[^"\\]*+(?:\\.[^"\\]*+)*+"|[-+.\w]++)""", re.DOTALL)
_SPACE = re.compile(r"\s*+")
_WRAPPER_END = "</tool_call>"
_FUNCTION_END = "</function>"
_PARAMETER_END = "</parameter>"


@dataclass(frozen=True)
class WrittenCall:
    """A call as it stands in the text: its parameters, or its arguments as they are written."""

    name: str
    arguments: Parameters | str


@dataclass(frozen=True)
class Block:
    """Where calls stand in a text, tags included. One that is cut holds a single call: its arguments are its text."""

    start: int
    end: int
    calls: tuple[WrittenCall, ...]
    is_wrapped: bool = True
    """Whether it has the `<tool_call>` at its start."""
    is_cut: bool = False


class _UnfinishedError(Exception):
    """A call begins and does not end."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def find_blocks(text: str, names: Container[str]) -> list[Block]:
    """The calls of the tools `names` in `text`, outside of code; nothing is looked for behind one that is cut."""
    blocks: list[Block] = []
    unquoted = Unquoted(_MARK, text)
    position, is_doubtful = 0, False
    while mark := unquoted.search(position):
        position = mark.end()
        try:
            block = None if mark["closing"] or is_doubtful else _read_block(text, mark)
        except _UnfinishedError as unfinished:
            if unfinished.name in names:
                return [*blocks, _cut(text, mark.start(), unfinished.name)]
            # What follows may belong to the call of a tool that we do not have, so it is not to be run.
            is_doubtful = mark["name"] is not None or text.startswith("<", _space_end(text, position))
            continue
        if is_doubtful and mark["name"] in names:
            return [*blocks, _cut(text, mark.start(), mark["name"])]
        if mark["closing"] and blocks and not isinstance(blocks[-1].calls[-1].arguments, str):
            # An end without a beginning: a value of the last call held the tags that we took for its end.
            last = blocks.pop()
            return [*blocks, _cut(text, last.start, last.calls[0].name)]
        if block is not None:
            position = block.end
            if all(call.name in names for call in block.calls) and not _is_quoted(text, block):
                blocks.append(block)
    return blocks


def _cut(text: str, start: int, name: str) -> Block:
    """All that follows is taken as part of the call: what looks like another one may be text within it."""
    return Block(start, len(text), (WrittenCall(name, text[start:]),), is_cut=True)


def _is_quoted(text: str, block: Block) -> bool:
    return text.endswith("`", 0, block.start) and text.startswith("`", block.end)


def _read_block(text: str, opening: re.Match[str]) -> Block | None:
    """The block that `opening` begins; None where it begins none."""
    return _read_wrapped(text, opening) if opening["wrapper"] else _read_bare(text, opening)


def _read_wrapped(text: str, opening: re.Match[str]) -> Block | None:
    calls: list[WrittenCall] = []
    position = _space_end(text, opening.end())
    while not calls or not text.startswith(_WRAPPER_END, position):
        read = _read_call(text, position)
        if read is None and not calls:
            return None
        if read is None:
            raise _UnfinishedError(calls[0].name)
        calls.append(read[0])
        position = _space_end(text, read[1])
    return Block(opening.start(), position + len(_WRAPPER_END), tuple(calls))


def _read_bare(text: str, opening: re.Match[str]) -> Block | None:
    read = _read_function(text, opening)
    if read is None:
        return None
    call, end = read
    behind = _space_end(text, end)
    if text.startswith(_WRAPPER_END, behind):
        end = behind + len(_WRAPPER_END)
    return Block(opening.start(), end, (call,), is_wrapped=False)


def _read_call(text: str, position: int) -> tuple[WrittenCall, int] | None:
    if text.startswith("{", position):
        return _read_object_call(text, position)
    function = _FUNCTION.match(text, position)
    return _read_function(text, function) if function else None


def _read_function(text: str, opening: re.Match[str]) -> tuple[WrittenCall, int] | None:
    name = opening["name"]
    if not _BODY.match(text, opening.end()):
        return None
    parameters: list[tuple[str, str]] = []
    position = _space_end(text, opening.end())
    while not text.startswith(_FUNCTION_END, position):
        parameter = _PARAMETER.match(text, position)
        end = _value_end(text, parameter.end()) if parameter else None
        if parameter is None or end is None:
            raise _UnfinishedError(name)
        parameters.append((parameter[1], text[parameter.end() : end]))
        position = _space_end(text, end + len(_PARAMETER_END))
    return WrittenCall(name, tuple(parameters)), position + len(_FUNCTION_END)


def _value_end(text: str, position: int) -> int | None:
    """Where the value ends: at the end tag that pairs with no tag in it; None unless the call goes on behind that."""
    depth = 0
    for tag in _PARAMETER_TAG.finditer(text, position):
        if tag[1]:
            depth += 1
        elif depth:
            depth -= 1
        else:
            return tag.start() if _BEHIND_VALUE.match(text, tag.end()) else None
    return None


def _read_object_call(text: str, position: int) -> tuple[WrittenCall, int]:
    members, end = _read_members(text, position)
    name = _text_of(members.get("name"))
    if end is None or not _is_json(text[position:end]):
        raise _UnfinishedError(name)
    arguments = members.get("arguments", "{}")
    return WrittenCall(name, _text_of(arguments) or arguments), end


def _read_members(text: str, position: int) -> tuple[dict[str, str], int | None]:
    """The members of the object at `position`, each value as it is written, and the object's end, if it has one.

    Python's own reader is not fit for text that is hostile: for each error it counts all lines before it.
    """
    members: dict[str, str] = {}
    depth, previous, key, start = 0, "", "", 0
    while token := _JSON_TOKEN.match(text, position):
        sign, position = token[1], token.end()
        depth += (sign in "{[") - (sign in "}]")
        if key and (depth == 0 or (depth == 1 and sign == ",")):
            members[key], key = text[start : token.start()].strip(), ""
        if depth == 0:
            return members, position
        if depth == 1 and sign == ":":
            key, start = _text_of(previous), position
        previous = sign
    if key:
        members[key] = text[start:position].strip()
    return members, None


def _text_of(value: str | None) -> str:
    """What a JSON string says; "" for anything else."""
    return str(json.loads(value)) if value and value.startswith('"') and _is_json(value) else ""


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _space_end(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position
