"""The events of a trajectory: `trajectory.jsonl`, one a line, flushed as they happen; `--json` prints the same."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from results.records import FORMAT
from results.records.base import Record
from results.records.outcome import Outcome
from results.records.usage import Usage

Message = dict[str, Any]
"""A message as it goes over the wire, keys in the order in which they are sent."""


class BackendDescription(Record):
    """Which model answers, and how it is asked. Holds no key."""

    base_url: str
    model: str
    dialect: str
    scripted: bool = False
    """True for a server that plays back a script: a result made with it says nothing about any model."""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """What is sent with every request beside messages and tools: temperature, output limit, template flags."""
    context_window: int | None = None
    """In tokens, as served; None: nobody says."""
    dialect_sha256: str | None = None
    """The hash of the dialect's cells, which a person may write."""
    unsent: list[str] = Field(default_factory=list)
    """Sampling parameters that were asked for and left out, since this server family refuses them."""
    profile: str | None = None
    mode: str | None = None
    preset: str | None = None
    stated: dict[str, str] = Field(default_factory=dict)
    """Where each setting comes from: `published: …`, or `ours: …`."""
    server: str | None = None
    """The server's own version. Here and below None is *unknown*: neither the server nor a person said."""
    weights: str | None = None
    """The file or the revision of the weights."""
    quantisation: str | None = None
    kv_cache: str | None = None
    """The type of the key-value cache: `f16`, `q8_0` …"""
    speculative: str | None = None
    """How the server decodes speculatively; `none` where it does not."""
    hardware: str | None = None
    vision: bool | None = None
    """Whether the model takes pictures."""


class ToolCallRecord(Record):
    """A call as the model wrote it. `arguments` is its text, byte for byte, which may be no JSON."""

    id: str
    name: str
    arguments: str


class Received(Record):
    """A model's turn as it came."""

    reasoning: str | None = None
    reasoning_field: str | None = None
    """The name of the field in which the thinking came."""
    content: str | None = None
    tool_calls: list[ToolCallRecord] = Field(default_factory=list[ToolCallRecord])
    finish_reason: str | None = None
    extras: dict[str, Any] = Field(default_factory=dict)
    """What a behaviour of the dialect has to send back: `reasoning_details`, thought signatures."""


class StartEvent(Record):
    """The first event: everything that stays the same for the whole conversation."""

    type: Literal["start"] = "start"
    time: float
    format: int = FORMAT
    agent: str
    backend: BackendDescription | None
    toolset: str
    tools: list[dict[str, Any]]
    directory: str
    sandbox: str
    """`local`, or `docker:IMAGE`."""


class MessageEvent(Record):
    """A message was appended that is neither a model's turn nor a result: of the system, or of a user.

    At the beginning of a segment also what is carried over from the one before, of any role.
    """

    type: Literal["message"] = "message"
    time: float
    sent: Message


class RequestEvent(Record):
    """A request went out. The hash is of its whole body."""

    type: Literal["request"] = "request"
    time: float
    step: int
    messages: int
    bytes: int
    sha256: str
    aside: Message | None = None
    """The last of its messages, where it is no part of the conversation: what asks for a handover."""


class ResponseEvent(Record):
    """The model answered. Seconds and usage cover every request of the step, those that failed as well."""

    type: Literal["response"] = "response"
    time: float
    step: int
    received: Received
    sent: Message | None = None
    """What will be sent back, where it is not what was received; None: the same."""
    differences: list[str] = Field(default_factory=list)
    """The causes, one for each difference between received and sent."""
    usage: Usage
    seconds: float
    """From the first byte of the first request to the last of the response."""
    first_token_seconds: float | None = None
    requests: int = 1
    """How many requests it took; more than one where a failed one was sent again."""
    discarded: bool = False
    """True for a turn that is no part of the conversation: an empty one that was asked for again, or a summary."""


class ToolResultEvent(Record):
    """A call was answered."""

    type: Literal["tool_result"] = "tool_result"
    time: float
    step: int
    name: str
    sent: Message
    exit_code: int | None = None
    is_error: bool = False
    denied: bool = False
    seconds: float


class RetryEvent(Record):
    """A request failed and is sent again."""

    type: Literal["retry"] = "retry"
    time: float
    step: int
    reason: str
    wait_seconds: float


class SegmentEvent(Record):
    """The conversation had no room left, and begins anew: a summary, and the end of what it was.

    The messages of the new segment follow, each as an event; the tools and the settings stay those of the start.
    """

    type: Literal["segment"] = "segment"
    time: float
    step: int
    number: int
    """2 for the second segment."""
    reason: str
    prompt_tokens: int | None = None
    """Of the last request of the segment that ends."""
    dropped: int
    """How many messages were left behind."""
    kept: int
    """How many were carried over as they are."""


NoticeKind = Literal["truncated", "prefix_lost", "repetition"]


class NoticeEvent(Record):
    """Something that a person should know, and that ended nothing.

    `truncated`: the server dropped a part of the prompt in silence. `prefix_lost`: it computed a part of the prompt
    again that it should have had in its cache. `repetition`: the model was told that it repeats itself.
    """

    type: Literal["notice"] = "notice"
    time: float
    step: int
    kind: NoticeKind
    text: str
    tokens: int | None = None
    """How many tokens it is about."""


class PatchEvent(Record):
    """The work was harvested as a diff against the state that the agent found.

    The text is cut at 1 MiB; the hash is that of the whole.
    """

    type: Literal["patch"] = "patch"
    time: float
    patch: str
    sha256: str
    left_out: int = 0
    """How many files, and folders as a whole, came up and are not in it: litter, and what git ignores."""
    left_out_names: dict[str, str] = Field(default_factory=dict)
    """The first hundred of them, each with the reason; a folder has a slash at its end."""


class EndEvent(Record):
    """The last event."""

    type: Literal["end"] = "end"
    time: float
    outcome: Outcome


Event = Annotated[
    StartEvent
    | MessageEvent
    | RequestEvent
    | ResponseEvent
    | ToolResultEvent
    | RetryEvent
    | SegmentEvent
    | NoticeEvent
    | PatchEvent
    | EndEvent,
    Field(discriminator="type"),
]

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
"""Reads an event from a line: `EVENT.validate_json(line)`."""
