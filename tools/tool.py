"""What a tool is: a name, a schema that the model sees, and a call that always answers.

A failed call is an answer too: what was wrong and what to do instead. Only a `SandboxError` passes through.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeVar, cast

from pydantic import BaseModel, RootModel, ValidationError

from tools.pictures import Picture
from tools.sandbox import OutputListener, Sandbox

Parameters_contra = TypeVar("Parameters_contra", bound=BaseModel, contravariant=True)

Access = Literal["read", "edit", "execute"]
"""What a call may change: nothing, files through an editor, or anything at all."""


@dataclass(frozen=True)
class ToolResult:
    """The answer to one call.

    `text` goes to the model as it is: its first line is a fixed header, it is cut to length, and it holds none
    of the chat format's control tokens.
    """

    text: str
    is_error: bool = False
    exit_code: int | None = None
    pictures: tuple[Picture, ...] = ()
    """What the model is shown beside the text, where it can see."""
    submitted: bool = False
    """The model says with this call that its work is done: the trial ends as `submitted`."""


class ForeignParameters(RootModel[dict[str, Any]]):
    """Arguments whose schema somebody else wrote: any object fits, and its owner judges it.

    Each foreign tool has a subclass of its own, which carries its schema.
    """

    json_schema: ClassVar[dict[str, Any]] = {}
    """What the model sees, as it came."""


class Tool(Protocol[Parameters_contra]):
    """Something that a model can call; `parameters` is the pydantic model of its arguments."""

    @property
    def name(self) -> str:
        """What the model calls it."""
        ...

    @property
    def description(self) -> str:
        """What the model reads about it."""
        ...

    @property
    def parameters(self) -> type[BaseModel]:
        """The model of the arguments; its JSON schema is what the model sees."""
        ...

    def access(self, arguments: Parameters_contra) -> Access:
        """What this call may change, for the approval policy."""
        ...

    async def __call__(
        self, arguments: Parameters_contra, sandbox: Sandbox, on_output: OutputListener | None = None
    ) -> ToolResult:
        """Do it. Raises SandboxError when the sandbox itself failed, and nothing else."""
        ...


def definition(tool: Tool[Any]) -> dict[str, Any]:
    """The tool as the OpenAI protocol spells it, in an order that never changes (it is part of the prompt)."""
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": _parameters_schema(tool.parameters),
        },
    }


def explain_invalid_arguments(tool: Tool[Any], error: ValidationError) -> str:
    """One sentence for the model on which arguments were wrong, and what the tool takes."""
    problems = "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'the arguments'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)
    )
    return f"The arguments do not fit the tool {tool.name!r}: {problems}. {what_it_takes(tool)}"


def what_it_takes(tool: Tool[Any]) -> str:
    """One sentence on the parameters of a tool."""
    schema = _parameters_schema(tool.parameters)
    fields: list[str] = list(schema.get("properties") or {})
    required = cast("list[str]", schema.get("required") or [])
    spelled = (f"{name} ({'required' if name in required else 'optional'})" for name in fields)
    return f"It takes: {', '.join(spelled) or 'nothing'}."


def _parameters_schema(parameters: type[BaseModel]) -> dict[str, Any]:
    if issubclass(parameters, ForeignParameters):
        return parameters.json_schema
    schema = parameters.model_json_schema()
    return {
        "type": "object",
        "properties": {
            name: {key: value for key, value in field.items() if key not in ("title", "default")}
            for name, field in schema.get("properties", {}).items()
        },
        "required": schema.get("required", []),
    }
