"""What can be wrong with a server: faults that go on top of any family.

`Fault.X` alone stands for `fault(Fault.X)`. Faults of behaviour change cells of the family, or the reply, for as
long as they last; faults of transport act on the bytes of a response.
"""

from enum import Enum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from conformance.behaviour import ErrorForm, ServerBehaviour


class Fault(Enum):
    """A kind of fault. The parameters that it knows stand in its sentence."""

    # Thinking
    REASONING_INPUT_IGNORED = "the template never sees thinking of the history, under whatever name"
    REASONING_RENAMED = "thinking comes out under an unexpected name (`text`)"
    REASONING_INLINE = "no reasoning parser: thinking comes in content, in tags"
    REASONING_INLINE_UNOPENED = "the same, and the tag that opens it is missing, for the prompt ended with it"
    REASONING_STRIPPED_BY_PROXY = "thinking is taken out of the answer"
    PRESERVE_IGNORED = "thinking before the last user message is dropped, whatever is asked"
    ALWAYS_THINKS = "thinking cannot be turned off"
    NEVER_THINKS = "thinking cannot be turned on"
    ENDLESS_THINKING = "the model thinks for `tokens` tokens, or until the output cap, and finish reason is length"
    # Calls
    CALLS_IN_CONTENT = "calls are left in content as XML, finish reason stop"
    CALLS_IN_REASONING = "calls are left in thinking as XML, finish reason stop"
    HERMES_CALLS_IN_CONTENT = "calls are left in content as JSON in tool_call tags, finish reason stop"
    ARGUMENTS_MISSING_IN_STREAM = "streamed calls have a name and no arguments"
    EMPTY_ARGUMENTS = "every call has the arguments {}"
    MISSING_IDS = "calls have no id"
    REPEATED_IDS = "every call has the same id"
    MISSING_INDEX = "streamed calls have no index"
    NAME_REPEATED = "every delta of a call repeats id and name"
    OBJECT_ARGUMENTS = "arguments are an object instead of a string"
    PARALLEL_DROPPED = "calls behind the first are dropped"
    EMPTY_TURN = "nothing comes but a finish reason"
    # Counts and limits
    NO_USAGE = "no usage at all"
    USAGE_LIES = "0 cached tokens are reported, though the cache works"
    CACHE_NEVER_HITS = "the cache never hits"
    SLOW_PREFILL = "each 1000 tokens that are not cached take `seconds` before the first token"
    SILENT_TRUNCATION = "the oldest messages are dropped until the prompt fits"
    SMALLER_CONTEXT = "the window is `tokens`, and the advertised one is not"
    OVERFLOW_UNKNOWN_FORM = "a prompt that is too long is refused in words that nobody knows (`text`)"
    OUTPUT_CAP_IGNORED = "the output cap has no effect"
    FINISH_REASON_LIES = "the finish reason is always `text` (default stop)"
    IMAGES_REFUSED = "images are refused"
    IMAGES_UNSEEN = "images are accepted, and the model does not see them"
    # Transport
    DISCONNECT = "the connection ends before event `at` of a stream (or half-way through a whole answer)"
    DISCONNECT_AT_BYTE = "the connection ends behind byte `at` of the body"
    HTTP_ERROR = "an error of `status`, with Retry-After when `retry_after` is given"
    HTML = "HTTP `status` (default 200) with a page of HTML"
    STALL_BEFORE_HEADERS = "nothing for `seconds`, then the response"
    STALL_BEFORE_FIRST_TOKEN = "headers, then nothing for `seconds`"
    STALL_BETWEEN_TOKENS = "nothing for `seconds` before event `at`"
    ERROR_EVENT = "an error event in place of event `at`, and the end"
    GARBAGE_EVENT = "an event that is no JSON (`text`) before event `at`"
    SPLIT_UTF8 = "every write ends in the middle of a character where there is one of several bytes"
    ONE_BYTE_WRITES = "every byte is a write of its own"
    ONE_GIANT_CHUNK = "the whole stream is one write"
    EMPTY_CHOICES = "a chunk with empty choices before event `at`"
    DUPLICATED_USAGE = "the chunk with usage comes twice"
    COMMENTS = "keep-alive comments between the events"


TRANSPORT = frozenset(list(Fault)[list(Fault).index(Fault.DISCONNECT) :])
"""The faults that act on the bytes."""


class ActiveFault(BaseModel):
    """A fault with its parameters, and the chat requests that it strikes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Fault
    after: int = 0
    """The requests that are spared first."""
    times: int | None = None
    """The requests that are struck then; None: all."""
    only: Literal["streamed", "whole"] | None = None
    at: int = 1
    seconds: float = 3600.0
    status: int | None = None
    retry_after: str | None = None
    tokens: int = 2048
    text: str | None = None

    def strikes(self, number: int, *, streamed: bool) -> bool:
        """Whether chat request `number`, counted from 0, is struck."""
        if self.only and (self.only == "streamed") != streamed:
            return False
        return number >= self.after and (self.times is None or number < self.after + self.times)


def as_fault(value: "Fault | ActiveFault") -> ActiveFault:
    """`value` with its parameters."""
    return ActiveFault(kind=value) if isinstance(value, Fault) else value


def broken(behaviour: ServerBehaviour, faults: list[ActiveFault]) -> ServerBehaviour:
    """The family with the cells changed that the faults change."""
    for active in faults:
        behaviour = _changed(behaviour, active)
    return behaviour


def _changed(behaviour: ServerBehaviour, active: ActiveFault) -> ServerBehaviour:
    changes: dict[Fault, tuple[str, dict[str, object]]] = {
        Fault.REASONING_INPUT_IGNORED: ("reasoning", {"read_from": (), "reads_inline": False}),
        Fault.REASONING_RENAMED: ("reasoning", {"emitted_as": active.text or "thoughts", "details": False}),
        Fault.REASONING_INLINE: ("reasoning", {"emitted_as": None, "inline": True, "opening_tag": True}),
        Fault.REASONING_INLINE_UNOPENED: ("reasoning", {"emitted_as": None, "inline": True, "opening_tag": False}),
        Fault.REASONING_STRIPPED_BY_PROXY: (
            "reasoning",
            {"emitted_as": None, "inline": False, "details": False, "signatures": False},
        ),
        Fault.PRESERVE_IGNORED: ("preserve", {"mode": "never"}),
        Fault.ALWAYS_THINKS: ("thinking", {"default": True, "switches": ()}),
        Fault.NEVER_THINKS: ("thinking", {"default": False, "switches": ()}),
        Fault.MISSING_IDS: ("wire", {"call_ids": "none"}),
        Fault.SILENT_TRUNCATION: ("context", {"overflow": "truncated"}),
        Fault.SMALLER_CONTEXT: ("context", {"window": active.tokens}),
        Fault.OUTPUT_CAP_IGNORED: ("output", {"keys": (), "default": None, "refused_beyond_window": False}),
        Fault.IMAGES_REFUSED: ("images", {"vision": False}),
        Fault.IMAGES_UNSEEN: ("images", {"vision": True, "user": True, "tool": True}),
        Fault.COMMENTS: ("wire", {"comments": True}),
        Fault.OVERFLOW_UNKNOWN_FORM: (
            "errors",
            {"overflow": ErrorForm(body={"fault": active.text or "The request could not be satisfied."})},
        ),
    }
    if active.kind not in changes:
        return behaviour
    section, values = changes[active.kind]
    return behaviour.changed(section, **values)
