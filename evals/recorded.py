"""A backend without a model: it gives the responses that a run has recorded, each trial its own, in their order.

So the same agent does the same again, and what the tools answer now can be held against what they answered then.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agent.backend import BackendError, DeltaListener, RetryListener, ThinkingWatch, UsageListener
from agent.conversation import Conversation
from agent.dialects.dialect import Dialect
from agent.dialects.registry import load_dialect
from agent.endings import Ending, TaskOver
from agent.turn import AssistantTurn, ToolCall
from results.record_files import DamagedFileError
from results.records.events import BackendDescription, EndEvent, ResponseEvent, SegmentEvent
from results.records.outcome import Outcome
from results.run_directory import RunDirectory, TrialDirectory, TryDirectory
from results.trajectory import read_trajectory

_FROM_OUTSIDE = ("limit:time", "limit:context")
"""Ends that the clock or the server brought about, and not the agent's own counting."""


class NotRecordedError(BackendError):
    """The recording does not have what is asked for."""


@dataclass
class RecordedBackend:
    """The responses of a run, or of one conversation of it. Fulfils `agent.backend.Backend`."""

    run: RunDirectory
    description: BackendDescription
    responses: Sequence[ResponseEvent] = ()
    outcome: Outcome | None = None
    """How the conversation ended; None where its process was killed."""
    problem: str = "a recording has the responses of trials, and no others"
    """Why there are none; empty where there are."""
    dialect: Dialect = field(init=False)

    def __post_init__(self) -> None:
        self.dialect = load_dialect(self.description.dialect)
        self._given = 0

    async def complete(
        self,
        conversation: Conversation,  # noqa: ARG002 - it is what was said then, but for what tools answer now
        on_delta: DeltaListener | None = None,  # noqa: ARG002
        on_retry: RetryListener | None = None,  # noqa: ARG002
        guard: ThinkingWatch | None = None,  # noqa: ARG002
        on_usage: UsageListener | None = None,
    ) -> AssistantTurn:
        """The next response; behind the last one, the end that came from outside. Raises NotRecordedError."""
        if self.problem:
            raise NotRecordedError(self.problem)
        if self._given == len(self.responses):
            if self.outcome and self.outcome.exit in _FROM_OUTSIDE and self.outcome.error is None:
                raise TaskOver(Ending(self.outcome.exit, f"as it was recorded: {self.outcome.detail}"))
            raise NotRecordedError("the recording ends here, and the agent asks for another response")
        response = self.responses[self._given]
        self._given += 1
        if on_usage:
            on_usage(response.usage)
        return self._turn(response)

    @property
    def is_over(self) -> bool:
        """Whether all responses have been given; never so of a trial that cannot be played back."""
        return not self.problem and self._given == len(self.responses)

    async def count(self, conversation: Conversation) -> int | None:  # noqa: ARG002
        """Nobody can be asked."""
        return None

    async def close(self) -> None:
        """Nothing is open."""

    def of_trial(self, task_id: str, attempt: int, step: str, responses: int | None = None) -> "RecordedBackend":
        """The responses of a trial, or of one of its steps; the first `responses`, where no more are wanted."""
        if (directory := recorded_try(self.run.trial(task_id, attempt))) is None:
            return replace(self, problem="no try of it came to its end")
        folder = directory.path / "steps" / step if step else directory.path
        try:
            events = list(read_trajectory(folder / "trajectory.jsonl", lambda _: None))
        except (OSError, DamagedFileError) as error:
            return replace(self, problem=f"its trajectory cannot be read: {error}")
        places = [place for place, event in enumerate(events) if isinstance(event, ResponseEvent)]
        if responses is not None and responses < len(places):
            events = events[: places[responses]]
        if any(isinstance(event, SegmentEvent) for event in events):
            return replace(self, problem="its conversation was compacted: when that happens depends on the server")
        ends = [event.outcome for event in events if isinstance(event, EndEvent)]
        found = [event for event in events if isinstance(event, ResponseEvent)]
        return replace(self, responses=found, outcome=ends[-1] if ends else None, problem="")

    def _turn(self, response: ResponseEvent) -> AssistantTurn:
        received, outcome = response.received, self.outcome
        is_last = self._given == len(self.responses)
        is_stopped = is_last and outcome is not None and outcome.exit == "limit:thinking"
        return AssistantTurn(
            reasoning=received.reasoning,
            reasoning_field=received.reasoning_field,
            content=received.content,
            tool_calls=tuple(ToolCall(call.id, call.name, call.arguments) for call in received.tool_calls),
            finish_reason=received.finish_reason,
            usage=response.usage,
            answer_usage=response.usage,
            first_token_seconds=response.first_token_seconds,
            requests=response.requests,
            extras=received.extras,
            stopped=outcome.detail if is_stopped and outcome else None,
        )


def recorded_try(trial: TrialDirectory) -> TryDirectory | None:
    """The try of a trial that counts: the last one that was judged, else the last one that ended."""
    tries = {one.number: one for one in trial.tries() if one.end() is not None}
    judged = [verdict.try_number for verdict in trial.verdicts() if verdict.try_number in tries]
    number = judged[-1] if judged else max(tries, default=None)
    return None if number is None else tries[number]
