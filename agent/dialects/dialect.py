"""What a dialect says: one pydantic model, read from TOML.

Every cell is something that a server family was seen to do, or documents; `docs/backends/NAME.md` has the sources.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from agent.dialects.patterns import check_pattern

Pattern = Annotated[str, AfterValidator(check_pattern)]
"""A regular expression, matched anywhere and without regard to case."""

Path = str
"""Keys joined by dots, through objects; `[]` goes into every element of a list: `data[].meta.n_ctx`."""


class _Cells(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Reasoning(_Cells):
    """Where thinking comes from, and where it goes back to."""

    received: tuple[str, ...] = ()
    """The field of a message, and of a delta, that holds it; the first that is there wins. None: it never comes."""
    sent: tuple[str, ...] = ()
    """The names under which it goes back, every one of them. None: this API carries no thinking."""
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

    passing: tuple[int, ...] = (408, 409, 425, 429, 500, 502, 503, 504, 529)
    """HTTP statuses that are worth another try."""
    hopeless: tuple[Pattern, ...] = ()
    """What an error says that is not worth one whatever its status: llama.cpp answers 500 to a malformed request."""


class Question(_Cells):
    """A GET, or with `body` a POST, and where the answer stands in its JSON."""

    url: str
    """Relative to the base URL (`models`), or from the server's root (`/props`)."""
    at: Path
    body: dict[str, Any] | None = None
    """`{model}` within its strings becomes the model's name."""


class Sign(_Cells):
    """Something that gives the family away. All of what is stated has to hold."""

    url: str
    at: Path | None = None
    """The answer's JSON has something there."""
    says: Pattern | None = None
    """What stands there (or, without `at`, the whole body) matches."""
    header: str | None = None
    """The name of a response header that has to be there, and to match `says` where that is given without `at`."""


class Detection(_Cells):
    """How the family is recognised."""

    hosts: tuple[Pattern, ...] = ()
    """Host names that settle it without a question."""
    signs: tuple[Sign, ...] = ()
    """Any one of them is enough."""
    before: tuple[str, ...] = ()
    """Dialects whose signs this one shares, so that it has to be tried first."""


class Output(_Cells):
    """The limit on the length of one response."""

    key: str = "max_tokens"
    default: int | None = None
    """What the server takes where the request says nothing, in tokens, where that is known to be small."""


class Sampling(_Cells):
    """How sampling parameters are spelled."""

    names: dict[str, str] = Field(default_factory=dict)
    """Our name to the server's: `repetition_penalty` is `repeat_penalty` for llama.cpp."""
    refused: tuple[str, ...] = ()
    """What is left out, since the server refuses it or does something else with it."""


class Images(_Cells):
    """Where a picture may stand, as a part of type `image_url`."""

    user: bool = True
    tool: bool = False
    text_first: bool = False
    """A message of pictures alone is refused: a text part has to stand before them."""


class Counting(_Cells):
    """An endpoint that counts the tokens of a request before it is sent."""

    url: str
    at: Path
    fields: tuple[str, ...] = ("model", "messages", "tools", "chat_template_kwargs")
    """Those of the request that it gets."""


class Served(_Cells):
    """How to ask what is served; the first question with an answer wins, and what nobody tells is unknown."""

    context: tuple[Question, ...] = ()
    """The served context window in tokens: not the one that the model was trained with."""
    quantisation: tuple[Question, ...] = ()
    version: tuple[Question, ...] = ()
    weights: tuple[Question, ...] = ()
    vision: tuple[Question, ...] = ()
    """True where the model takes pictures."""


class Dialect(_Cells):
    """One server family."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    title: str
    extends: str | None = None
    """A dialect whose cells hold where this file says nothing."""
    address: str | None = None
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
        return bool(self.reasoning.sent) or self.reasoning.sent_inline or "echo_reasoning_details" in self.behaviours
