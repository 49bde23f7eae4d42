"""What one server family does, as data: read from `families/NAME.yaml`, one file for each family.

The fixtures are the independent truth that the product's dialect table is tested against, so nothing here may know
that table. Every section of a fixture has a `source`: a documentation page, the server's source, an issue, or
"observed" for what was seen on a real server.
"""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

FOLDER = Path(__file__).with_name("families")


class Shape(BaseModel):
    """A part of a fixture; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Section(Shape):
    """A part of a fixture that says where it is known from."""

    source: str = Field(min_length=8)


class ErrorForm(Shape):
    """An error as the family answers it. `{placeholders}` in the body's strings are filled in."""

    status: int = 400
    body: Any = None
    """JSON, or a string for a plain text."""


class Switch(Shape):
    """A place in a request where something can be turned on and off; `path` has dots."""

    path: str
    means_on: tuple[Any, ...] = (True,)
    means_off: tuple[Any, ...] = (False,)
    otherwise: bool | None = None
    """What any other value that is there means; None: nothing."""
    refuses_strings: bool = False


class Reasoning(Section):
    """How thinking comes out, and what of the history reaches the template."""

    emitted_as: str | None
    """The field in the message and in the delta; None: no field."""
    inline: bool = False
    """It comes inside `content`, in `<think>` tags."""
    opening_tag: bool = True
    """The inline form begins with `<think>`; without, the prompt has already said it."""
    details: bool = False
    """`reasoning_details` come as well (OpenRouter)."""
    signatures: bool = False
    """Calls carry an opaque `extra_content.google.thought_signature` (Gemini)."""
    read_from: tuple[str, ...] = ()
    """The fields of an assistant message that are read; the first that is there wins."""
    reads_inline: bool = True
    """The template finds `<think>` in `content` where no field was there."""
    empty_is_absent: bool = False
    """An empty field counts as one that is not there."""

    @property
    def carries(self) -> bool:
        """Whether a client can bring thinking back at all."""
        return bool(self.read_from) or self.reads_inline


class Thinking(Section):
    """How thinking is turned on and off."""

    switches: tuple[Switch, ...] = ()
    """The first that says something wins."""
    default: bool = True


class Preserve(Section):
    """Whether thinking from before the last user message stays in the prompt."""

    mode: Literal["request", "never", "always", "with_tools"]
    switches: tuple[Switch, ...] = ()
    default: bool = False


class History(Section):
    """What the family demands of the messages."""

    calls_need_reasoning: Literal["never", "present", "not_empty"] = "never"
    """On assistant messages with calls, while thinking is on."""
    calls_need_signature: bool = False
    bad_arguments: Literal["refused", "emptied"] = "refused"
    needs_user: bool = True
    single_system: bool = True
    developer: Literal["system", "refused"] = "refused"


class Wire(Section):
    """The form of answers."""

    done: bool = True
    """A stream ends with `data: [DONE]`."""
    role: Literal["first", "every"] = "first"
    first_content: Literal["null", "empty", "absent"] = "null"
    """`content` in a delta that holds nothing but the role."""
    usage_place: Literal["last_chunk", "finish_chunk", "choice", "finish_and_last"] = "last_chunk"
    usage_unasked: bool = False
    """Usage is streamed without `stream_options.include_usage`."""
    streamed_arguments: Literal["pieces", "whole"] = "pieces"
    whole_whitespace: Literal["kept", "stripped"] = "kept"
    streamed_whitespace: Literal["kept", "kept_with_lead", "stripped"] = "kept"
    empty_content: Literal["null", "empty", "absent"] = "null"
    """`content` of a message that has only calls."""
    call_ids: Literal["random", "call", "vllm", "kimi", "none"] = "call"
    argument_spaces: bool = True
    comments: bool = False
    """Keep-alive comments stand between the events of a stream."""
    frame: dict[str, Any] = Field(default_factory=dict[str, Any])
    """More keys of the response."""
    message: dict[str, Any] = Field(default_factory=dict[str, Any])
    """More keys of the message."""
    finish: dict[str, Any] = Field(default_factory=dict[str, Any])
    """More keys of the choice."""


class UsageForm(Section):
    """Where counts stand: from a path with dots to `prompt`, `completion`, `total`, `cached`, `missed`, `reasoning`,
    `text` (completion without reasoning), `cache_write`, or `zero`."""

    fields: dict[str, str]
    timings: dict[str, str] = Field(default_factory=dict[str, str])
    """The same for llama.cpp's `timings`."""
    block: int = 1
    """Cached tokens are a multiple of this."""
    least_cached: int = 0
    """A prefix that is shorter is not cached."""
    cached_absent_at_zero: bool = False


class Output(Section):
    """The output cap."""

    keys: tuple[str, ...]
    """The parameters that are honoured; the first that is there wins."""
    refused: tuple[str, ...] = ()
    default: int | None = None
    """Tokens; None: what the window leaves."""
    counts_thinking: bool = True
    cut_call: Literal["partial", "emptied_whole", "dropped"] = "partial"
    """A call that the cap cuts. `emptied_whole`: not streamed, finish reason `tool_calls` with arguments `{}`."""
    refused_beyond_window: bool = False
    """Prompt and cap together may not be more than the window."""


class Context(Section):
    """The served context window, in tokens, and what becomes of a prompt that is longer."""

    window: int
    trained_window: int = 262_144
    overflow: Literal["refused", "truncated", "ignored"] = "refused"


class ToolUse(Section):
    """Calls."""

    tool_choice: tuple[Literal["none", "required", "named"], ...] = ("none", "required", "named")
    """The forms that have an effect; the others are ignored in silence."""
    named_finish: str | None = None
    """The finish reason when a tool was named; None: an honest one."""
    parallel_flag: bool = True
    """`parallel_tool_calls: false` is honoured."""


class Images(Section):
    """Where images are taken."""

    vision: bool = True
    user: bool = True
    tool: bool = False
    unseen_in_tool: bool = False
    """An image in a tool message is accepted, and the model does not see it."""
    needs_text: bool = False
    """A message of images alone is refused."""


class Errors(Section):
    """Errors; `server` is the form for what the faults raise."""

    server: ErrorForm
    overflow: ErrorForm = ErrorForm()
    malformed: ErrorForm = ErrorForm()
    messages: ErrorForm = ErrorForm()
    """What the template refuses: a second system message, no user message, a role that it does not know."""
    arguments: ErrorForm = ErrorForm()
    field: ErrorForm = ErrorForm()
    """A request field that is unknown or not supported: `{field}`."""
    value: ErrorForm = ErrorForm()
    """A request field whose value is refused: `{field}`."""
    output_cap: ErrorForm = ErrorForm()
    unsupported_cap: ErrorForm = ErrorForm()
    reasoning: ErrorForm = ErrorForm()
    signature: ErrorForm = ErrorForm()
    image: ErrorForm = ErrorForm()
    image_alone: ErrorForm = ErrorForm()
    model: ErrorForm = ErrorForm()
    key: ErrorForm = ErrorForm(status=401)
    path: ErrorForm = ErrorForm(status=404)


class Endpoint(Section):
    """Something else that the server can be asked. `answer` names what is computed instead of `body`."""

    method: Literal["GET", "POST"] = "GET"
    path: str
    status: int = 200
    body: Any = None
    answer: Literal["body", "apply_template", "tokenize_text", "input_tokens", "tokenize_chat", "detokenize"] = "body"


def _text_only(value: Any) -> Any:
    return {str(name): str(text) for name, text in cast("dict[Any, Any]", value).items()}


class ServerBehaviour(Shape):
    """One server family."""

    family: str
    base_path: str = "/v1"
    other_base_paths: tuple[str, ...] = ()
    model: str = "Qwen/Qwen3.6-35B-A3B"
    other_models: Literal["accepted", "refused"] = "accepted"
    headers: Annotated[dict[str, str], BeforeValidator(_text_only)] = Field(default_factory=dict[str, str])
    known_fields: tuple[str, ...] | None = None
    """The request fields that are not refused; None: nothing is."""
    reasoning: Reasoning
    thinking: Thinking
    preserve: Preserve
    history: History
    wire: Wire
    usage: UsageForm
    output: Output
    context: Context
    tools: ToolUse
    images: Images
    errors: Errors
    endpoints: tuple[Endpoint, ...] = ()

    def changed(self, section: str, **values: Any) -> "ServerBehaviour":
        """The same with some cells of one section changed."""
        part: Shape = getattr(self, section)
        return self.model_copy(update={section: part.model_copy(update=values)})


def families() -> tuple[str, ...]:
    """The names of all fixtures."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.yaml")))


@lru_cache
def load_behaviour(family: str) -> ServerBehaviour:
    """Read a fixture. `extends` in it names one whose cells it inherits. Raises ValueError for a wrong fixture."""
    return ServerBehaviour.model_validate(_cells(family))


def _cells(family: str) -> dict[str, Any]:
    cells: dict[str, Any] = yaml.safe_load((FOLDER / f"{family}.yaml").read_text(encoding="utf-8"))
    cells["family"] = family
    parent = cells.pop("extends", None)
    return _merged(_cells(parent), cells) if parent else cells


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict) and key != "body"
        merged[key] = _merged(merged[key], cast("dict[str, Any]", value)) if both else value
    return merged
