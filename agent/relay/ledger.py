"""The ledger of one trial: what its agent asked the model, what that took, and what the trial may still spend.

Everything is written down as it happens: the conversation to the trial's own trajectory, those that an agent holds
beside it to files of their own, and each request, however it ended, to `relay.jsonl`.
"""

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import Collection, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from agent.chat_backend import ChatBackend
from agent.limits import Budget
from agent.listener import Listener
from agent.redaction import REDACTED, Redacting
from agent.relay.answer import PassingAnswer
from agent.relay.recording import RecordedConversation, Setting
from agent.relay.relation import Continuation, Said, closest
from agent.relay.request import USAGE_OPTION, ChatRequest, RelayRefusal, read_request
from agent.session import Recorder
from results.json_lines import encode_line, open_for_append
from results.records.outcome import Exit
from results.records.relay import RelayedRequest
from results.records.usage import Usage
from results.trajectory import TrajectoryWriter

REQUESTS = "relay.jsonl"
CONVERSATIONS = "conversations"
_TOO_MANY = 429
_MOST_AT_ONCE = 32
_REFUSALS_WRITTEN = 1000
"""One by one; the others are only counted, so that an agent that does not give up fills no disk."""
TOO_MANY_AT_ONCE = "too_many_at_once"
"""The code of the one refusal that is worth another try."""


@dataclass(frozen=True)
class Admitted:
    """A request that may go on to the backend."""

    number: int
    request: ChatRequest
    body: bytes
    """What goes on."""
    said: Said
    conversation: int
    how: Continuation | None
    """None: it begins a conversation."""
    added: tuple[str, ...]
    overridden: tuple[str, ...]
    started: float
    """On the monotonic clock; the next one is of the world."""
    at: float

    @property
    def hides_usage(self) -> bool:
        """Whether the agent did not ask for the counts that a stream ends with."""
        return USAGE_OPTION in self.added


@dataclass
class TrialLedger:
    """What one agent may do and has done. Used on one event loop, as a context."""

    backend: ChatBackend
    budget: Budget
    setting: Setting
    listener: Listener
    """Hears the first conversation."""
    folder: Path
    """Where the requests, and all other conversations, are written down."""
    secrets: Collection[str] = ()
    """What is taken out of everything that is written down."""
    counts: Counter[str] = field(default_factory=Counter[str])
    limit: tuple[Exit, str] | None = None
    """The limit that a request met."""
    limit_met: asyncio.Event = field(default_factory=asyncio.Event)
    backend_failure: str = ""
    """Why the backend did not answer the last request; empty where it did."""
    fault: Exception | None = None
    """What went wrong on our side, such as a disk that is full."""
    _conversations: dict[int, RecordedConversation] = field(default_factory=dict[int, RecordedConversation])
    _numbers: int = 0
    _passing: set["asyncio.Task[None]"] = field(default_factory=set["asyncio.Task[None]"])
    _arriving: int = 0
    _is_open: bool = True

    def __enter__(self) -> Self:
        self._files = ExitStack()
        self._requests = self._files.enter_context(open_for_append(self.folder / REQUESTS))
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write down what was pending. Whoever still asks is refused."""
        self._is_open = False
        with self._files:
            for conversation in self._conversations.values():
                conversation.close()

    @property
    def has_begun(self) -> bool:
        """Whether the agent has asked the model for anything."""
        return bool(self._conversations)

    async def end(self) -> None:
        """Break off what is still passing: its agent is over."""
        self._is_open = False
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    @contextmanager
    def arriving(self) -> Generator[None]:
        """While a request is read. Raises RelayRefusal where the agent has too many under way."""
        if self._arriving + len(self._passing) >= _MOST_AT_ONCE:
            message = f"{_MOST_AT_ONCE} requests are under way already"
            raise RelayRefusal(message, status=_TOO_MANY, code=TOO_MANY_AT_ONCE)
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1

    def passing(self, task: "asyncio.Task[None]") -> None:
        """Remember a request that is on its way."""
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    def admit(self, body: bytes) -> Admitted:
        """Take a request. Raises RelayRefusal for one that is wrong, or that the trial may not make any more."""
        self._numbers += 1
        number, at = self._numbers, time.time()
        try:
            request = read_request(body)
            self._check(request)
        except RelayRefusal as refusal:
            self._refuse(number, at, body, refusal)
            raise
        return self._admitted(number, at, request)

    def settle(self, admitted: Admitted, answer: PassingAnswer, status: int | None, problem: str) -> None:
        """A request is over. `problem`: why it was not answered, or not to its end."""
        seconds = time.monotonic() - admitted.started
        answered = status is not None and status < 400 and answer.is_complete and not problem
        usage = answer.usage if status is not None and status < 400 else None
        if answered:
            self.budget.count_response(answer.usage, seconds)
        elif answer.has_begun or status is None:  # what broke off has been paid for as well
            self.budget.count_failure(answer.usage, seconds)
        if self._is_open:
            conversation = self._conversations[admitted.conversation]
            if answered:
                conversation.answered(answer.turn(), seconds, admitted.said)
            else:
                conversation.failed(problem or answer.problem)
        self._write(
            RelayedRequest(
                number=admitted.number,
                started=admitted.at,
                seconds=seconds,
                status=status,
                bytes=len(admitted.request.body),
                sha256=_sha256(admitted.request.body),
                conversation=admitted.conversation,
                relation="begins" if admitted.how is None else admitted.how.relation,
                messages=len(admitted.said.messages),
                kept=0 if admitted.how is None else admitted.how.kept,
                cause="" if admitted.how is None else admitted.how.cause,
                settings=admitted.request.settings,
                added=list(admitted.added),
                overridden=list(admitted.overridden),
                usage=None if usage == Usage() else usage,
                problem=problem or answer.problem,
            )
        )

    def failed_at_backend(self, reason: str) -> None:
        """The backend did not answer."""
        self.counts["backend_failed"] += 1
        self.backend_failure = reason

    def _refuse(self, number: int, at: float, body: bytes, refusal: RelayRefusal) -> None:
        self.counts["relay_refused"] += 1
        if self.counts["relay_refused"] > _REFUSALS_WRITTEN:
            return
        self._write(
            RelayedRequest(
                number=number,
                started=at,
                seconds=0,
                status=refusal.status,
                bytes=len(body),
                sha256=_sha256(body),
                problem=str(refusal),
            )
        )

    def _check(self, request: ChatRequest) -> None:
        model = self.backend.description.model
        if not self._is_open:
            raise RelayRefusal("the trial is over", status=403, code="trial_over")
        if (asked := request.settings.get("model")) != model:
            message = f"the model {asked!r} is not served here; there is {model!r}"
            raise RelayRefusal(message, status=404, code="model_not_found")
        if exceeded := self.budget.exceeded():
            self.limit = self.limit or exceeded
            self.limit_met.set()
            raise RelayRefusal(exceeded[1], status=_TOO_MANY, code=exceeded[0])
        if self.budget.is_blind:
            message = "the backend reports no token counts, so the limit on tokens or cost cannot be kept"
            self.backend_failure = message
            raise RelayRefusal(message, status=403, code="no_counts")

    def _admitted(self, number: int, at: float, request: ChatRequest) -> Admitted:
        stated = self.backend.description.sampling
        lacking, overridden = request.lacking(stated), request.overridden(stated)
        self.counts["setting_overridden"] += bool(overridden)
        said = Said.of(request.messages, request.tools)
        conversation, how = self._follow(said, request)
        return Admitted(
            number=number,
            request=request,
            body=request.body_with(lacking),
            said=said,
            conversation=conversation,
            how=how,
            added=tuple(lacking),
            overridden=tuple(overridden),
            started=time.monotonic(),
            at=at,
        )

    def _follow(self, said: Said, request: ChatRequest) -> tuple[int, Continuation | None]:
        """The conversation that a request belongs to, with the request written down."""
        conversations = ((number, one.said, one.first) for number, one in self._conversations.items())
        found = closest(conversations, said)
        if found is None:
            number = len(self._conversations) + 1
            self.counts["conversation"] += 1
            conversation = RecordedConversation(self.setting, self._hearing(number), said, self.counts)
            self._conversations[number] = conversation
            conversation.begin({**self.backend.description.sampling, **request.settings})
            return number, None
        number, how = found
        if how.relation == "extends":
            self.counts["prefix_kept"] += 1
        elif how.relation == "changes":
            self.counts["prefix_broken"] += 1
            self.counts[how.cause] += 1
        self._conversations[number].go_on(said, how)
        return number, how

    def _hearing(self, number: int) -> Listener:
        if number == 1:
            return self.listener
        folder = self.folder / CONVERSATIONS
        folder.mkdir(exist_ok=True)
        writer = self._files.enter_context(TrajectoryWriter(folder / f"{number}.jsonl"))
        return Redacting(Recorder(writer), self.secrets)

    def _write(self, record: RelayedRequest) -> None:
        if self._requests.closed:
            return
        line = encode_line(record)
        for secret in sorted(self.secrets, key=len, reverse=True):
            line = line.replace(json.dumps(secret, ensure_ascii=False)[1:-1].encode(), REDACTED.encode())
        self._requests.write(line)
        self._requests.flush()


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
