"""What a dialect says: one pydantic model, read from TOML.

Every cell is something that a server family was seen to do, or documents; `docs/backends/NAME.md` has the sources.
"""

import hashlib
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from agent.dialects.patterns import check_path, check_pattern


def _check_place(place: str) -> str:
    """Only what lies on the same server: the key goes along."""
    if "://" in place or place.startswith("//") or not place.isprintable() or set(place) & set(" \\@#"):
        message = f"{place!r} is no place on the server: it looks like models, or /props"
        raise ValueError(message)
    return place


Pattern = Annotated[str, AfterValidator(check_pattern)]
"""A regular expression, matched anywhere and without regard to case."""

Path = Annotated[str, AfterValidator(check_path)]
"""Keys joined by dots, through objects; `[]` goes into every element of a list: `data[].meta.n_ctx`, and `[key]` into
those whose `key` is the name of the model: `data[id].max_model_len`."""

Place = Annotated[str, AfterValidator(_check_place)]
"""Relative to the base URL (`models`), or from the server's root (`/props`): the base URL without its `/v1`."""


class _Cells(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Reasoning(_Cells):
    """Where thinking comes from, and where it goes back to."""

    received: tuple[str, ...] = ()
    """The field of a message, and of a delta, that holds it; the first that is there wins. None: it never comes."""
    sent: tuple[str, ...] = ()
    """The names under which it goes back, every one of them. None: this API carries no thinking."""
    inline: Literal["split", "keep"] = "split"
    """What is done with thinking that comes as `<think>` within the content: it goes back under the names of `sent`,
    or stays where it came, for a server of which nobody knows whether its template reads any of them."""
    sent_inline: bool = False
    """It goes back as `<think>` at the beginning of the content, since no field reaches the template."""


class Thinking(_Cells):
    """Request fields, merged into the request, that switch thinking. Empty: there is no such switch."""

    on: dict[str, Any] = Field(default_factory=dict)
    off: dict[str, Any] = Field(default_factory=dict)
    preserve: dict[str, Any] = Field(default_factory=dict)
    """Keep the thinking of earlier turns in the prompt."""
    forget: dict[str, Any] = Field(default_factory=dict)
    preserves: Literal["asked", "always", "never", "unknown"] = "asked"
    """Whether thinking survives a new user message: if `preserve` asks for it, always, never, or nobody says."""


class UsagePaths(_Cells):
    """Where token counts stand within the usage object; the first path that is there wins."""

    prompt: tuple[Path, ...] = ("prompt_tokens",)
    cached: tuple[Path, ...] = ()
    cache_write: tuple[Path, ...] = ()
    output: tuple[Path, ...] = ("completion_tokens",)
    reasoning: tuple[Path, ...] = ()


class Overflow(_Cells):
    """What happens to a prompt that is longer than the context."""

    patterns: tuple[Pattern, ...] = ()
    """What the error says."""
    silent: bool = False
    """The server drops what does not fit, or takes it all the same, and answers 200."""


class Failures(_Cells):
    """Which failures may pass, beside those of the transport."""

    passing: tuple[int, ...] = (408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529)
    """HTTP statuses that are worth another try."""
    hopeless: tuple[Pattern, ...] = ()
    """What an error says that is not worth one whatever its status: llama.cpp answers 500 to a malformed request."""


class Question(_Cells):
    """A GET, or with `body` a POST, and where the answer stands in its JSON."""

    url: Place
    at: Path
    body: dict[str, Any] | None = None
    """`{model}` within its strings becomes the model's name."""
    says: Pattern | None = None
    """For a question of yes or no: yes, if something that stands there matches."""


class Sign(_Cells):
    """Something that gives the family away. All of what is stated has to hold."""

    url: Place
    at: Path | None = None
    """The answer's JSON has something there."""
    says: Pattern | None = None
    """What stands there matches: at `at`, in `header`, or else in the whole body."""
    header: str | None = None
    """The name of a response header that has to be there; one of `at` and `header` at most."""
    lacks: Path | None = None
    """The answer is JSON, and has nothing there."""
    also: "tuple[Sign, ...]" = ()
    """More that has to hold."""

    @model_validator(mode="after")
    def _says_something(self) -> "Sign":
        if self.at and self.header:
            raise ValueError("at and header are two signs: put one of them into `also`")
        if not (self.at or self.says or self.header or self.lacks):
            raise ValueError("it says nothing: give at, says, header or lacks")
        return self


class Detection(_Cells):
    """How the family is recognised."""

    hosts: tuple[Pattern, ...] = ()
    """Host names that settle it without a question."""
    signs: tuple[Sign, ...] = ()
    """Any one of them is enough."""
    before: tuple[str, ...] = ()
    """Dialects whose signs this one may show as well, so that it is tried first."""


class Output(_Cells):
    """The limit on the length of one response."""

    key: str = "max_tokens"
    default: int | None = None
    """What the server takes where the request says nothing, in tokens, where that is known to be small."""


class Sampling(_Cells):
    """How sampling parameters are spelled."""

    names: dict[str, str] = Field(default_factory=dict)
    """Our name to the server's: `repetition_penalty` is `repeat_penalty` for llama.cpp."""
    seed: str | None = None
    """The field for the seed of one request; None: it takes none, or nobody knows that it does."""
    refused: tuple[str, ...] = ()
    """What is left out, since the server refuses it, or takes it and does nothing with it."""
    refused_thinking: tuple[str, ...] = ()
    """What is left out while the model thinks, for the same reasons."""


class Images(_Cells):
    """Where a picture may stand, as a part of type `image_url`."""

    user: bool = True
    tool: bool = False


class Counting(_Cells):
    """An endpoint that counts the tokens of a request before it is sent."""

    url: Place
    at: Path
    fields: tuple[str, ...] = ("model", "messages", "tools", "chat_template_kwargs")
    """Those of the request that it gets."""


class Served(_Cells):
    """How to ask what is served; the first question with an answer wins, and what nobody tells is unknown."""

    context: tuple[Question, ...] = ()
    """The served context window in tokens, not the one that the model was trained with: the least of all answers."""
    quantisation: tuple[Question, ...] = ()
    version: tuple[Question, ...] = ()
    weights: tuple[Question, ...] = ()
    kv_cache: tuple[Question, ...] = ()
    speculative: tuple[Question, ...] = ()
    vision: tuple[Question, ...] = ()
    """Whether the model takes pictures."""


class Dialect(_Cells):
    """One server family."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    title: str
    extends: str | None = None
    """A dialect whose cells hold where this file says nothing."""
    address: str | None = Field(default=None, pattern=r"^https?://[^/\s]+/\S*$")
    """Where it listens on one's own machine unless told otherwise."""
    reasoning: Reasoning = Field(default_factory=Reasoning)
    thinking: Thinking = Field(default_factory=Thinking)
    usage: UsagePaths = Field(default_factory=UsagePaths)
    overflow: Overflow = Field(default_factory=Overflow)
    failures: Failures = Field(default_factory=Failures)
    detection: Detection = Field(default_factory=Detection)
    output: Output = Field(default_factory=Output)
    sampling: Sampling = Field(default_factory=Sampling)
    images: Images = Field(default_factory=Images)
    counting: Counting | None = None
    rendering: Literal["apply-template", "tokenize"] | None = None
    """An endpoint that shows the rendered prompt: llama.cpp's /apply-template, vLLM's /tokenize."""
    served: Served = Field(default_factory=Served)
    cache_block: int = Field(default=1, ge=1)
    """Cached tokens are counted in blocks of so many; one block is no loss."""
    behaviours: tuple[str, ...] = ()
    """Names from `agent.dialects.behaviours`."""
    mends: dict[str, str] = Field(default_factory=dict)
    """For a check of the doctor, by its name: the flag or setting of this server that mends it."""

    @property
    def carries_thinking(self) -> bool:
        """Whether thinking can go back at all."""
        echoed = {"echo_reasoning_details", "echo_thought_signatures"} & set(self.behaviours)
        return bool(self.reasoning.sent) or self.reasoning.sent_inline or bool(echoed)

    def sha256(self) -> str:
        """The hash of all cells that decide what is sent and how answers are read: not of titles, and not of mends."""
        cells = self.model_dump_json(exclude={"title", "extends", "address", "detection", "mends"})
        return hashlib.sha256(cells.encode()).hexdigest()
