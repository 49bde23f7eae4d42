"""What a tool is: a name, a schema that the model sees, and a call that always answers.

A failed call is an answer too: what was wrong and what to do instead. Only a `SandboxError` passes through.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

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
    schema = tool.parameters.model_json_schema()
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": {
                "type": "object",
                "properties": {
                    name: {key: value for key, value in field.items() if key not in ("title", "default")}
                    for name, field in schema["properties"].items()
                },
                "required": schema.get("required", []),
            },
        },
    }


def explain_invalid_arguments(tool: Tool[Any], error: ValidationError) -> str:
    """One sentence for the model on which arguments were wrong, and what the tool takes."""
    problems = "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'the arguments'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)
    )
    fields = ", ".join(
        f"{name} ({'required' if field.is_required() else 'optional'})"
        for name, field in tool.parameters.model_fields.items()
    )
    return f"The arguments do not fit the tool {tool.name!r}: {problems}. It takes: {fields}."
