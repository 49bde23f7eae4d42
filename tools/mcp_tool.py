"""A tool of an MCP server, as one of ours: its name made safe, its schema as it came, its results cut and defused."""

import asyncio
import base64
import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from tools.mcp_connection import McpConnection
from tools.mcp_servers import McpError
from tools.output import CHARACTER_LIMIT, clean, cut_lines, cut_middle, neutralise, restore
from tools.pictures import Picture, PictureError, read_picture
from tools.sandbox import OutputListener, Sandbox
from tools.tool import Access, ForeignParameters, ToolResult, what_it_takes

if TYPE_CHECKING:
    from mcp_types import CallToolResult, ContentBlock, Tool

LONGEST_NAME = 64
"""Characters, as the OpenAI protocol has it."""
LONGEST_DESCRIPTION = 4_000
"""Characters of one description above which a person is warned."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_SAFE_TYPES = frozenset({"string", "integer", "null"})
_ARTICLES = {"array": "an array", "object": "an object", "integer": "an integer"}


class McpTool:
    """Calls a tool of a server. What goes wrong there is an answer, as with any tool."""

    def __init__(self, name: str, offered: "Tool", connection: McpConnection) -> None:
        self.name = name
        self.description = neutralise(clean(offered.description or offered.title or ""))
        self.parameters = type(
            "McpParameters",
            (ForeignParameters,),
            {"__doc__": f"The arguments of {name}.", "json_schema": offered.input_schema, "__module__": __name__},
        )
        self._called = offered.name
        self._reads = bool(offered.annotations and offered.annotations.read_only_hint)
        self._connection = connection
        self._kept_numbers = itertools.count(1)

    def access(self, arguments: ForeignParameters) -> Access:  # noqa: ARG002
        """Say that it may do anything, unless its server calls it read-only."""
        return "read" if self._reads else "execute"

    async def __call__(
        self,
        arguments: ForeignParameters,
        sandbox: Sandbox,
        on_output: OutputListener | None = None,  # noqa: ARG002 - a result comes as a whole
    ) -> ToolResult:
        """Call it; an answer that is too long is kept in the sandbox as a whole."""
        meant = cast("dict[str, Any]", _restored(arguments.root))
        try:
            result = await self._connection.call(self._called, meant)
        except McpError as error:
            return await self._failed(str(error), meant)
        texts, pictures = await asyncio.to_thread(_read, result)  # pictures take their time
        if result.is_error:
            return await self._failed("\n".join(texts), meant)
        text = await self._shown("\n".join(texts), sandbox)
        return ToolResult(f"{self.name}: ok\n{text}" if text else f"{self.name}: ok", pictures=tuple(pictures))

    async def _failed(self, text: str, arguments: Mapping[str, Any]) -> ToolResult:
        lines = [f"{self.name}: error", cut_middle(cut_lines(clean(text)), "[{count} characters cut here]")]
        if problem := misfit(self.parameters.json_schema, arguments):
            lines.append(f"The arguments do not fit the tool {self.name!r}: {problem}. {what_it_takes(self)}")
        return ToolResult(neutralise("\n".join(lines)), is_error=True)

    async def _shown(self, text: str, sandbox: Sandbox) -> str:
        text = clean(text).rstrip("\n")
        shown = cut_lines(text)
        if len(shown) > CHARACTER_LIMIT or shown != text:
            path = f"{sandbox.scratch_directory}/{self.name}-{next(self._kept_numbers)}.txt"
            notice = f"[{{count}} characters cut here; the whole answer is in {path}]"
            try:
                await sandbox.write_bytes(path, text.encode("utf-8", "backslashreplace"))
            except OSError as error:
                notice = f"[{{count}} characters cut here; the whole could not be kept: {error.strerror}]"
            cut = cut_middle(shown, notice)
            # Where only lines were cut, nothing else says where the whole is.
            shown = cut if cut != shown else f"{shown}\n{notice.format(count=len(text) - len(shown))}"
        return neutralise(shown)


def safe_name(server: str, tool: str, taken: "set[str]") -> str:
    """A name that every server of models takes and that is not `taken`: `SERVER__TOOL`, or so, with a hash."""
    plain = _UNSAFE.sub("_", f"{server}__{tool}")
    if len(plain) <= LONGEST_NAME and plain not in taken:
        return plain
    mark = hashlib.sha256(f"{server}\0{tool}".encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return f"{plain[: LONGEST_NAME - 9]}_{mark}"


def unusable(offered: "Tool") -> str | None:
    """Why a tool has to be left out: its schema is none that anybody could read."""
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for  # pyright: ignore[reportUnknownVariableType]

    schema = offered.input_schema
    try:
        validator_for(schema).check_schema(schema)  # pyright: ignore[reportUnknownMemberType]
    except SchemaError as error:
        return f"its schema is invalid: {error.message}"
    except RecursionError:
        return "its schema is nested too deeply"
    return None if isinstance(schema.get("properties", {}), dict) else "its schema has no properties"


def concerns(name: str, offered: "Tool") -> Iterator[str]:
    """What a person should know about a tool before it is in the prompt."""
    risky = {parameter: kinds for parameter, kinds in _kinds_of_parameters(offered.input_schema) if kinds}
    if risky:
        listed = ", ".join(f"{' or '.join(kinds)} for {parameter}" for parameter, kinds in risky.items())
        yield f"the tool {name} takes {listed}, which some chat templates write anew with other bytes"
    if len(offered.description or "") > LONGEST_DESCRIPTION:
        yield f"the description of the tool {name} has {len(offered.description or '')} characters"
    written = json.dumps(offered.input_schema, ensure_ascii=False)
    if neutralise(written) != written:
        yield f"the schema of the tool {name} holds control tokens of a chat format"


def misfit(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> str | None:
    """What of the arguments does not fit the schema, in a few words."""
    from jsonschema.exceptions import best_match  # pyright: ignore[reportUnknownVariableType]
    from jsonschema.validators import validator_for  # pyright: ignore[reportUnknownVariableType]
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        validator: Any = validator_for(schema)(schema, registry=Registry())  # nothing is fetched
        error = cast("Any", best_match(validator.iter_errors(arguments)))
    except (Unresolvable, RecursionError, re.error):  # other languages have other patterns
        return None
    if error is None:
        return None
    where = ".".join(str(part) for part in error.absolute_path) or "the arguments"
    return f"{where}: {error.message}"[:500]


def _kinds_of_parameters(schema: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for parameter, its_schema in cast("dict[str, Any]", schema.get("properties") or {}).items():
        kinds = _kinds(its_schema) - _SAFE_TYPES
        yield parameter, [_ARTICLES.get(kind, f"a {kind}") for kind in sorted(kinds)]


def _kinds(schema: object) -> set[str]:
    if not isinstance(schema, dict):
        return {"value of any kind"}
    fields = cast("dict[str, Any]", schema)
    stated = fields.get("type")
    if isinstance(stated, str):
        return {stated}
    if isinstance(stated, list):
        return set(cast("list[str]", stated))
    if "enum" in fields or "const" in fields:
        values: list[object] = [*fields.get("enum", ()), *([fields["const"]] if "const" in fields else [])]
        return {_kind_of_value(value) for value in values}
    parts = [*fields.get("anyOf", ()), *fields.get("oneOf", ())]
    kinds = {kind for part in parts for kind in _kinds(part)}
    return kinds or {"value of any kind"}


def _kind_of_value(value: object) -> str:
    match value:
        case bool():
            return "boolean"
        case str():
            return "string"
        case int():
            return "integer"
        case None:
            return "null"
        case _:
            return "value of any kind"


def _restored(value: Any) -> Any:
    """What the model meant: it copies from results that are neutralised. Half a character would end the connection."""
    if isinstance(value, str):
        return _LONE_SURROGATE.sub("\ufffd", restore(value))
    if isinstance(value, list):
        return [_restored(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {_restored(name): _restored(item) for name, item in cast("dict[str, Any]", value).items()}
    return value


def _read(result: "CallToolResult") -> tuple[list[str], list[Picture]]:
    """The texts and the pictures of a result; structured content is only read where there is nothing else."""
    texts: list[str] = []
    pictures: list[Picture] = []
    for block in result.content:
        read = _read_block(block)
        if isinstance(read, Picture):
            pictures.append(read)
            texts.append(f"[a picture of {read.width} × {read.height} pixels]")
        else:
            texts.append(read)
    if not result.content and result.structured_content is not None:
        texts.append(json.dumps(result.structured_content, ensure_ascii=False, indent=2))
    return texts, pictures


def _read_block(block: "ContentBlock") -> str | Picture:
    match block.type:
        case "text":
            return block.text
        case "image":
            return _picture(block.data)
        case "audio":
            return f"[a recording ({block.mime_type}), which cannot be heard]"
        case "resource_link":
            about = f": {block.description}" if block.description else ""
            return f"[resource {block.name} at {block.uri}{about}]"
        case "resource":
            resource = block.resource
            if hasattr(resource, "text"):
                return f"[resource {resource.uri}]\n{cast('Any', resource).text}"
            if (resource.mime_type or "").startswith("image/"):
                return _picture(cast("Any", resource).blob)
            return f"[resource {resource.uri} ({resource.mime_type or 'of an unknown kind'}), which is no text]"


def _picture(encoded: str) -> str | Picture:
    try:
        return read_picture(base64.b64decode("".join(encoded.split()), validate=True))
    except PictureError as error:
        return f"[a picture that cannot be shown: {error}]"
    except ValueError:
        return "[a picture that cannot be shown: it is not in base64]"
