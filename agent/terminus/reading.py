"""Reads the model's answer, as leniently as Terminus-2 does: what can be understood is done, and complained about.

Whatever the model wrote, nothing is raised, and nothing is left out without a word.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from pydantic import ValidationError

from agent.terminus.protocol import LONGEST_WAIT, WAIT_UNLESS_GIVEN, Answer
from tools.terminal_keys import bare_key

_REQUIRED = ("analysis", "plan", "commands")
_KNOWN = {*_REQUIRED, "task_complete"}
_KNOWN_OF_COMMAND = {"keystrokes", "duration"}
_TRUE = ("true", "1", "yes")
_BEGINNING = re.compile(r'\{\s*"')
_MOST_BEGINNINGS = 200
"""Places at which an object may begin that are tried: each may take time in proportion to the length of the text."""
_FENCE = re.compile(r"\s*```\s*\Z")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_CLOSING = {"{": "}", "[": "]"}
_QUOTED = 80
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Reading:
    """What was understood. Without an answer, `problem` says why."""

    answer: Answer | None
    problem: str = ""
    warnings: tuple[str, ...] = ()


def read_answer(text: str, *, cut: bool = False) -> Reading:
    """Read what the model wrote; of a text that the output limit `cut`, nothing is completed by guessing."""
    first_problem = ""
    for start in _beginnings(text):
        value, end, problem = _decoded(text, start)
        first_problem = first_problem or problem
        if value is not None and _KNOWN & value.keys():
            return _understood(value, _around(text[:start], text[end:]))
    if not cut and (completed := _completed(text)):
        value, warning = completed
        return _understood(value, [warning])
    if not first_problem:
        return Reading(None, "there is no JSON object in it that has any of the fields")
    return Reading(None, first_problem)


def _beginnings(text: str) -> Iterator[int]:
    for number, match in enumerate(_BEGINNING.finditer(text)):
        if number == _MOST_BEGINNINGS:
            return
        yield match.start()


def _decoded(text: str, start: int) -> tuple[dict[str, Any] | None, int, str]:
    """The object that begins there, where it ends, and what is wrong with it where there is none."""
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        near = text[max(start, error.pos - _QUOTED // 2) : error.pos + _QUOTED // 2]
        return None, start, f"the JSON is not valid: {error.msg} at line {error.lineno}, near {near!r}"
    except (ValueError, RecursionError) as error:
        return None, start, f"the JSON cannot be read: {str(error)[:_QUOTED]}"
    return cast("dict[str, Any]", value), end, ""


def _around(before: str, after: str) -> list[str]:
    warnings = ["there was other text before the JSON object"] if before.strip() else []
    return warnings + (["there was other text after the JSON object, which was not read"] if after.strip() else [])


def _completed(text: str) -> tuple[dict[str, Any], str] | None:
    """An object whose last brackets are missing, and a word on that."""
    match = _BEGINNING.search(text)
    if match is None:
        return None
    body = _FENCE.sub("", text[match.start() :]).rstrip()
    missing: list[str] = []
    for character in _STRING.sub("", body):
        if character in _CLOSING:
            missing.append(_CLOSING[character])
        elif missing and character == missing[-1]:
            missing.pop()
    value, _, problem = _decoded(body + "".join(reversed(missing)), 0)
    if problem or value is None or not _KNOWN & value.keys():
        return None
    return value, f"the JSON object was not complete: {''.join(reversed(missing))} was added at its end"


def _understood(value: dict[str, Any], warnings: list[str]) -> Reading:
    """The answer that an object is, mended where that cannot change what is meant."""
    mended = dict(value)
    order = [name for name in value if name in _REQUIRED]
    if order != [name for name in _REQUIRED if name in order]:
        warnings.append(f"the fields came as {', '.join(order)}: the order is {', '.join(_REQUIRED)}")
    for name in ("analysis", "plan"):
        if name in value and not isinstance(value[name], str):
            warnings.append(f"`{name}` has to be a string")
            mended[name] = json.dumps(value[name], ensure_ascii=False)
    mended["task_complete"] = _is_complete(value.get("task_complete", False), warnings)
    if isinstance(value.get("commands"), list):
        commands = cast("list[Any]", value["commands"])
        mended["commands"] = [_command(each, number, warnings) for number, each in enumerate(commands, start=1)]
        _warn_of_joined_lines(mended["commands"], warnings)
    return _validated(mended, warnings)


def _validated(mended: dict[str, Any], warnings: list[str]) -> Reading:
    try:
        return Reading(Answer.model_validate(mended), warnings=tuple(warnings))
    except ValidationError as error:
        problems = [
            f"{'.'.join(_place(part) for part in one['loc'])}: {one['msg']}"
            for one in error.errors(include_url=False, include_input=False)
        ]
    of_commands = all(name in mended for name in _REQUIRED) and mended["task_complete"]
    if of_commands:  # as in Terminus-2: what is wrong with its commands does not take back that the task is done
        warnings.append(f"the commands were left out, since they could not be read: {'; '.join(problems)}")
        return Reading(Answer.model_validate({**mended, "commands": []}), warnings=tuple(warnings))
    return Reading(None, "; ".join(problems), tuple(warnings))


def _place(part: int | str) -> str:
    return str(part + 1) if isinstance(part, int) else part


def _is_complete(value: Any, warnings: list[str]) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _TRUE
    if not isinstance(value, bool) and value is not None:
        warnings.append("`task_complete` has to be true or false")
    return bool(value)


def _command(value: Any, number: int, warnings: list[str]) -> Any:
    """The command with a duration that can be waited for; what is no object is left for the model to be told of."""
    if not isinstance(value, dict):
        return value
    command = cast("dict[str, Any]", value)
    if unknown := [str(name) for name in command if name not in _KNOWN_OF_COMMAND]:
        warnings.append(f"command {number}: there is no field {', '.join(unknown)}")
    return {**command, "duration": _duration(command, number, warnings)}


def _duration(command: dict[str, Any], number: int, warnings: list[str]) -> float:
    given = command.get("duration")
    if (
        isinstance(given, bool)
        or not isinstance(given, int | float)
        or (isinstance(given, float) and math.isnan(given))
    ):
        what = "is no number" if "duration" in command else "is missing"
        warnings.append(f"command {number}: `duration` {what}, so {WAIT_UNLESS_GIVEN:g} second was waited")
        return WAIT_UNLESS_GIVEN
    return float(max(0, min(given, LONGEST_WAIT)))


def _warn_of_joined_lines(commands: list[Any], warnings: list[str]) -> None:
    for number, command in enumerate(commands[:-1], start=1):
        keys = cast("dict[str, Any]", command).get("keystrokes") if isinstance(command, dict) else None
        if isinstance(keys, str) and keys and not keys.endswith("\n") and not bare_key(keys):
            warnings.append(
                f"command {number} did not end with a line break, so the next one was typed on the same line"
            )
