"""Turns the parameters of a call in XML, which are all text, into JSON of the types that the tool's schema states."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, cast

Schema = Mapping[str, Any]

_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}
_TYPES: dict[type, tuple[str, ...]] = {
    bool: ("boolean",),
    type(None): ("null",),
    int: ("integer", "number"),
    float: ("number",),
    str: ("string",),
    list: ("array",),
    dict: ("object",),
}


def json_arguments(parameters: Sequence[tuple[str, str]], schema: Schema) -> str:
    """The arguments as the text of a JSON object.

    A string is what stands between the tags, without the one newline that the format puts at either end. Anything
    else stays spelled as the model wrote it if that is JSON (or Python's True, False, None), and becomes a string if
    not, for the tool to say what it takes. A parameter that the schema does not know is a string.
    """
    properties: Mapping[str, Any] = schema.get("properties") or {}
    values = {name: _spelled(_unframed(value), properties.get(name)) for name, value in parameters}
    members = (f"{json.dumps(name, ensure_ascii=False)}: {value}" for name, value in values.items())
    return f"{{{', '.join(members)}}}"


def _unframed(value: str) -> str:
    return value.removeprefix("\n").removesuffix("\n")


def _spelled(value: str, schema: object) -> str:
    types = _types(cast("Schema", schema)) if isinstance(schema, Mapping) else {"string"}
    other_types = types - {"string"}
    literal = _literal(value) if other_types or not types else None
    if literal is not None:
        text, its_types = literal
        # Where a string would do as well, only what is clearly meant as something else is taken for that.
        if "string" not in types or other_types.intersection(its_types):
            return text
    return json.dumps(value, ensure_ascii=False)


def _types(schema: Schema) -> set[str]:
    """The types that a schema allows; none where it does not say."""
    stated: str | list[str] = schema.get("type") or []
    types = {stated} if isinstance(stated, str) else set(stated)
    parts: list[object] = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return types.union(*(_types(cast("Schema", part)) for part in parts if isinstance(part, Mapping)))


def _literal(value: str) -> tuple[str, tuple[str, ...]] | None:
    """`value` as JSON, and the types that it is of; None if it is no JSON that everyone can read."""
    text = value.strip()
    text = _PYTHON_WORDS.get(text, text)
    try:
        read = json.loads(text, parse_constant=_refuse)
        json.dumps(read, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return text, _TYPES[type(read)]


def _refuse(constant: str) -> NoReturn:
    message = f"{constant} is no JSON"
    raise ValueError(message)
