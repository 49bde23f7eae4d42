"""One chat completion request and all that became of it: the entries of the journal."""

from dataclasses import dataclass, field
from typing import Any

from conformance.behaviour import ServerBehaviour
from conformance.faults import Fault
from conformance.generation import Generation
from conformance.ingress import Request
from conformance.prefix import PrefixReport
from conformance.rendering import Prompt
from conformance.tokens import Tokens


@dataclass
class Exchange:
    """A request and its response. Filled in as it goes; what never came to be stays None."""

    number: int
    """Counted from 0."""
    raw: bytes
    """The body that came."""
    headers: dict[str, str]
    behaviour: ServerBehaviour
    """What answered: the family with the faults of this request."""
    faults: tuple[Fault, ...] = ()
    request: Request | None = None
    prompt: Prompt | None = None
    generation: Generation | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """What the cache held, whatever the usage says."""
    tokens: Tokens = ()
    truncated: int = 0
    """Messages that were dropped in silence."""
    status: int = 0
    usage: dict[str, Any] | None = None
    """As it was reported."""
    response: Any = None
    """The body of a response that was not streamed, and of an error."""
    events: list[bytes] = field(default_factory=list[bytes])
    """The events of a stream, before faults of transport."""
    delivered: bool = False
    """Everything was sent, and no fault of transport was in the way."""
    prefix: PrefixReport | None = None
    """None for the first request of a conversation."""

    @property
    def body(self) -> dict[str, Any]:
        """The request, parsed. Raises AssertionError for one that was refused."""
        assert self.request is not None
        return self.request.body

    @property
    def prompt_text(self) -> str:
        """What the model read."""
        return self.prompt.text if self.prompt else ""

    @property
    def generated_text(self) -> str:
        """What the model wrote."""
        return self.generation.text if self.generation else ""

    @property
    def completion_tokens(self) -> int:
        """The tokens of what the model wrote."""
        return self.generation.tokens if self.generation else 0

    @property
    def reasoning_tokens(self) -> int:
        """How many of them are thinking."""
        return self.generation.reasoning_tokens if self.generation else 0
