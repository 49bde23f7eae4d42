"""What is going on in a run at the moment, for whoever watches: which trial is where, and what came of others."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agent.backend import DeltaKind
from results.records.control import LiveState, LiveTrial
from results.records.events import Event, ResponseEvent, StartEvent
from results.records.outcome import Outcome
from results.records.progress import Phase, ProgressEvent, RunChanged, TrialEnds, TrialPhase, TrialStep
from results.records.usage import Usage
from results.records.verdict import Verdict
from results.run_directory import TrialDirectory
from results.score import OFFICIAL

_RECENT = 60.0
"""Seconds over which tokens are counted for their number a second."""
Key = tuple[str, int]


@dataclass
class _Trial:
    phase: Phase
    since: float
    step: int = 0


@dataclass
class Tally:
    """What the trials of this start have come to."""

    over: int = 0
    errors: int = 0
    resolved: int = 0
    judged: int = 0
    """By the official verifier."""
    usage: Usage = field(default_factory=Usage)
    """Of every answer so far, in trials that go on as well."""
    cost: float | None = 0.0
    """US dollars; None where the price of a trial is unknown."""


class LiveRun:
    """A run at work. Times are those of the clock, in seconds."""

    def __init__(
        self, on_event: Callable[[ProgressEvent], None] | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._tell = on_event or _nobody
        self._clock = clock
        self._began = clock()
        self._trials: dict[Key, _Trial] = {}
        self._recent: deque[tuple[float, int]] = deque()
        self.tally = Tally()
        self.changed_to: LiveState | None = None
        """What a person has changed last."""

    def enters(self, trial: TrialDirectory, phase: Phase) -> None:
        """A trial has come to a phase, `sandbox` at each try."""
        now, key = self._clock(), _key(trial)
        if phase == "sandbox" or key not in self._trials:
            self._trials[key] = _Trial(phase, now)
        self._trials[key].phase = phase
        self._tell(TrialPhase(time=now, task_id=trial.task_id, attempt=trial.attempt, phase=phase))

    def ends(self, trial: TrialDirectory, outcome: Outcome, verdicts: Sequence[Verdict]) -> None:
        """A trial is over."""
        self._trials.pop(_key(trial), None)
        tally = self.tally
        tally.over += 1
        tally.errors += outcome.error is not None
        official = [verdict for verdict in verdicts if verdict.verifier == OFFICIAL]
        tally.judged += bool(official)
        tally.resolved += bool(official and official[-1].resolved)
        tally.cost = None if tally.cost is None or outcome.cost is None else tally.cost + outcome.cost
        ends = TrialEnds(
            time=self._clock(),
            task_id=trial.task_id,
            attempt=trial.attempt,
            outcome=outcome,
            verdicts=list(verdicts),
        )
        self._tell(ends)

    def listener(self, trial: TrialDirectory) -> "TrialListener":
        """Who is to be told of the agent's work in a trial."""
        return TrialListener(self, trial)

    def answered(self, trial: TrialDirectory, event: ResponseEvent) -> None:
        """The model has answered."""
        now = self._clock()
        if state := self._trials.get(_key(trial)):
            state.step = event.step
        self._recent.append((now, event.usage.output_tokens or 0))
        self.tally.usage += event.usage
        step = TrialStep(
            time=now,
            task_id=trial.task_id,
            attempt=trial.attempt,
            step=event.step,
            seconds=event.seconds,
            usage=event.usage,
        )
        self._tell(step)

    def changed(self, state: LiveState) -> None:
        """A person has changed what is done at once."""
        self.changed_to = state
        changed = RunChanged(
            time=state.time,
            paused=state.paused,
            concurrency=state.concurrency,
            verifications=state.verifications,
            requests=state.requests,
        )
        self._tell(changed)

    @property
    def trials(self) -> list[LiveTrial]:
        """Those at work, the oldest first."""
        return [
            LiveTrial(task_id=task_id, attempt=attempt, phase=state.phase, since=state.since, step=state.step)
            for (task_id, attempt), state in self._trials.items()
        ]

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._clock() - self._began

    @property
    def output_tokens_per_second(self) -> float:
        """Of all trials together, over the last minute."""
        now = self._clock()
        while self._recent and self._recent[0][0] < now - _RECENT:
            self._recent.popleft()
        return sum(tokens for _, tokens in self._recent) / max(1.0, min(_RECENT, now - self._began))

    def seconds_left(self, left: int) -> float | None:
        """How long `left` further trials will take, if they are like those before; None where there are none yet."""
        return self.seconds / self.tally.over * left if self.tally.over else None


class TrialListener:
    """Fulfils `agent.listener.Listener` for one trial."""

    def __init__(self, live: LiveRun, trial: TrialDirectory) -> None:
        self._live = live
        self._trial = trial

    def event(self, event: Event) -> None:
        """Pass on what shows how far the trial is."""
        if isinstance(event, StartEvent):
            self._live.enters(self._trial, "agent")
        elif isinstance(event, ResponseEvent):
            self._live.answered(self._trial, event)

    def delta(self, kind: DeltaKind, text: str) -> None:
        """Nothing: nobody can watch many models type."""

    def output(self, data: bytes) -> None:
        """Nothing."""


def _nobody(event: ProgressEvent) -> None:
    """Nobody listens."""


def _key(trial: TrialDirectory) -> Key:
    return trial.task_id, trial.attempt
