"""Scripts: what a scripted backend answers, read from YAML.

A script that loads is one that can be played: every mistake in it (a misspelt key, a pattern that is none, a value
that JSON cannot hold) is a `ScriptError` that names the file and the key.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, Tag, ValidationError, model_validator

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
ReasoningField = Literal["reasoning_content", "reasoning"]
StreamBreak = Literal["cut", "invalid_json", "error_event"]


class ScriptError(ValueError):
    """A script cannot be used; the message is a sentence that names the file and the key."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ScriptedCall(_Strict):
    """A tool call. `arguments` given as text is sent as it is, malformed or not."""

    name: str
    arguments: dict[str, JsonValue] | str = Field(default_factory=dict)

    @property
    def arguments_json(self) -> str:
        """The `arguments` string as it goes over the wire."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments, ensure_ascii=False)


class Reply(_Strict):
    """One response of the model. All parts are optional: a reply without any is an empty turn."""

    reasoning: str = ""
    content: str = ""
    tool_calls: list[ScriptedCall] = Field(default_factory=list[ScriptedCall])
    finish_reason: FinishReason | None = None

    @property
    def finished_by(self) -> FinishReason:
        """The finish reason on the wire: what the script says, else what a server would say."""
        return self.finish_reason or ("tool_calls" if self.tool_calls else "stop")


class HttpFault(_Strict):
    """An HTTP error in place of the response."""

    status: int = Field(ge=400, le=599)
    message: str = "a scripted fault"
    retry_after: int | None = Field(default=None, ge=0)
    """Seconds, sent as the header `retry-after`."""


class StallFault(_Strict):
    """Silence before the headers, in seconds; then the next entry is played."""

    stall: float = Field(gt=0)


class StreamFault(_Strict):
    """The next reply, broken off half-way."""

    break_stream: StreamBreak


def _kind_of_fault(value: Any) -> str:
    if isinstance(value, StallFault) or (isinstance(value, dict) and "stall" in value):
        return "<stall>"
    if isinstance(value, StreamFault) or (isinstance(value, dict) and "break_stream" in value):
        return "<stream>"
    return "<http>"


Fault = Annotated[
    Annotated[HttpFault, Tag("<http>")]
    | Annotated[StallFault, Tag("<stall>")]
    | Annotated[StreamFault, Tag("<stream>")],
    Discriminator(_kind_of_fault),
]


class FaultEntry(_Strict):
    """A fault that meets the first `times` requests for the reply after it."""

    fault: Fault
    times: int = Field(default=1, ge=1)


def _kind_of_entry(value: Any) -> str:
    is_fault = "fault" in value if isinstance(value, dict) else isinstance(value, FaultEntry)
    return "<fault>" if is_fault else "<reply>"


Entry = Annotated[
    Annotated[Reply, Tag("<reply>")] | Annotated[FaultEntry, Tag("<fault>")],
    Discriminator(_kind_of_entry),
]


class ScriptedConversation(_Strict):
    """The replies to one conversation, told from the others by its first user message."""

    when: str | None = None
    when_matches: str | None = None
    replies: list[Entry] = Field(min_length=1)
    repeat_last: bool = False

    @model_validator(mode="after")
    def _check(self) -> "ScriptedConversation":
        if self.when is not None and self.when_matches is not None:
            raise ValueError("`when` and `when_matches` exclude each other")
        if self.repeat_last and not isinstance(self.replies[-1], Reply):
            raise ValueError("`repeat_last` needs a reply, not a fault, as the last entry")
        try:
            re.compile(self.when_matches or "")
        except re.error as error:
            message = f"`when_matches` is no regular expression: {error}"
            raise ValueError(message) from error
        return self

    @property
    def is_fallback(self) -> bool:
        """Whether this conversation answers what no other matches."""
        return self.when is None and self.when_matches is None

    @property
    def label(self) -> str:
        """What to call it in a message."""
        condition = self.when if self.when is not None else self.when_matches
        return "the fallback conversation" if condition is None else f"the conversation {condition!r}"

    def matches(self, first_user_message: str) -> bool:
        """Whether `first_user_message` holds the text or fits the pattern; never for the fallback."""
        if self.when is not None:
            return self.when in first_user_message
        return self.when_matches is not None and re.search(self.when_matches, first_user_message) is not None

    def reply(self, number: int) -> Reply | None:
        """Reply `number`, counted from 1; None past the end, unless the last one repeats."""
        replies = [entry for entry in self.replies if isinstance(entry, Reply)]
        if self.repeat_last:
            number = min(number, len(replies))
        return replies[number - 1] if number <= len(replies) else None

    def faults_before(self, number: int) -> Iterator[tuple[int, FaultEntry]]:
        """The faults between reply `number - 1` and reply `number`, each with its place in the list."""
        passed = 0
        for place, entry in enumerate(self.replies):
            if isinstance(entry, Reply):
                passed += 1
            elif passed == number - 1:
                yield place, entry


class Script(_Strict):
    """Everything that one scripted backend says."""

    scripted: str = Field(min_length=1)
    """Its name: the served model is `scripted/<name>`."""
    description: str = ""
    context_window: int = Field(default=262_144, gt=0)
    """Tokens; a prompt that fills it is refused."""
    reasoning_field: ReasoningField = "reasoning_content"
    first_token_delay: float = Field(default=0.0, ge=0)
    """Seconds between the headers and the first piece."""
    token_delay: float = Field(default=0.0, ge=0)
    """Seconds before each further piece."""
    conversations: list[ScriptedConversation] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> "Script":
        if sum(conversation.is_fallback for conversation in self.conversations) > 1:
            raise ValueError(
                "more than one conversation has neither `when` nor `when_matches`; one can be the fallback"
            )
        return self

    @property
    def model(self) -> str:
        """The id of the served model."""
        return f"scripted/{self.scripted}"

    def conversation_for(self, first_user_message: str) -> ScriptedConversation | None:
        """The first conversation that matches, else the fallback, else None."""
        matching = (each for each in self.conversations if each.matches(first_user_message))
        fallback = (each for each in self.conversations if each.is_fallback)
        return next(matching, None) or next(fallback, None)


def load_script(path: str | Path) -> Script:
    """The script in the YAML file at `path`. Raises ScriptError, with every mistake that was found."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        message = f"The script {path} cannot be read: {error.strerror or error}."
        raise ScriptError(message) from error
    except UnicodeDecodeError as error:
        message = f"The script {path} is no UTF-8 text: {error}."
        raise ScriptError(message) from error
    try:
        data: Any = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except yaml.YAMLError as error:
        message = f"The script {path} is no YAML: {error}."
        raise ScriptError(message) from error
    if not isinstance(data, dict):
        message = f"The script {path} is no mapping: it needs at least the keys `scripted` and `conversations`."
        raise ScriptError(message)
    try:
        return Script.model_validate(data)
    except ValidationError as error:
        raise ScriptError(f"The script {path} is wrong at " + "; at ".join(_problems(error)) + ".") from error


def _problems(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_context=False):
        key = _key(problem["loc"])
        yield f"{key}: {problem['msg'].removeprefix('Value error, ')}" + (
            " (no such key)" if problem["type"] == "extra_forbidden" else ""
        )


def _key(location: tuple[int | str, ...]) -> str:
    """A place in the file as people write it: `conversations[0].replies[2].content`."""
    parts = [part for part in location if not str(part).startswith("<")]
    written = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return written.removeprefix(".") or "the top level"
