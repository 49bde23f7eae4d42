"""The agent: shows the model a terminal, types what it answers, and asks twice whether the task is done.

Each turn of the model is followed by a message of the user, since that is the protocol: the backend has to keep
thinking across those (see `evals.preflight`). The conversation is append-only like that of any other agent.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Never

from agent.backend import Backend
from agent.conversation import sendable
from agent.dialogue import AcceptedTurn, Dialogue
from agent.endings import Ending, TaskOver, ending_of
from agent.limits import Budget
from agent.listener import Listener
from agent.terminus.prompt import TerminusPrompt, filled
from agent.terminus.protocol import Command
from agent.terminus.reading import Reading, read_answer
from agent.terminus.view import COLUMNS, ROWS, look, new_screen
from results.records.outcome import Outcome
from tools.control_tokens import restore
from tools.sandbox import Sandbox, SandboxError
from tools.terminal_keys import encode_verbatim
from tools.terminal_session import SETUP, TerminalSession

NAME = "terminus"
SHELL = "if command -v bash >/dev/null; then exec bash --login; fi; exec sh -i -l"
"""A login shell, as Terminus-2 starts one."""
OPENING = 5.0
"""Seconds in which a shell has to show its prompt."""
CAPTURE = 0.25
"""Seconds between the last wait and the look. In Harbor, a look is an exec in the container, which takes that long
(measured), so that the output of `"duration": 0.1` is there; without it the model would see less than it is used to."""

MOST_UNREADABLE = 50
"""Answers in a row of which nothing can be typed, after which no better one is waited for."""

Pause = Callable[[float], Awaitable[None]]


@dataclass
class TerminusAgent:
    """One agent at work on one task in one sandbox. Use it once.

    The shell stays open at the end, with what it runs in the background: tasks are judged on services. `pause` is how
    it waits between keys.
    """

    backend: Backend
    sandbox: Sandbox
    sandbox_name: str
    budget: Budget
    listener: Listener
    prompt: TerminusPrompt
    pause: Pause = asyncio.sleep
    failure: Exception | None = field(default=None, init=False)
    """What made it end as an error, for who wants to know more than the outcome says."""
    session: TerminalSession | None = field(default=None, init=False)
    """The terminal, once it is open."""
    _terminal_seconds: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._dialogue = Dialogue(self.backend, self.budget, self.listener, tools=[])

    async def run(self, instruction: str) -> Outcome:
        """Work until the task is over, however it ends; never raises for what a model, a limit or a sandbox does."""
        started = time.monotonic()
        ending = await ending_of(self._work(instruction), self.budget.limits.seconds)
        if self.session and ending.error is None and ending.exit.startswith("limit:"):
            ending = await _in_flight_ended(self.session, ending)
        self.failure = ending.failure
        seconds = time.monotonic() - started
        return self._dialogue.outcome(ending, seconds=seconds, tool_seconds=self._terminal_seconds)

    async def _work(self, instruction: str) -> Never:
        directory = self.sandbox.working_directory
        self._dialogue.log.start(NAME, self.backend, "", [], directory, self.sandbox_name)
        session = self.session = await self._open()
        first = filled(self.prompt.task, instruction=instruction.rstrip(), screen=look(session.screen))
        self._dialogue.begin([_message(first)])
        asked, unreadable = False, 0
        while True:
            if session.ended:
                raise TaskOver(Ending("finished", _shell_ended(session)))
            turn = await self._next_turn()
            reading = read_answer(turn.whole.content or "", cut=turn.cut)
            answer = reading.answer
            if answer is None:  # as in Terminus-2, what cannot be read does not take back an earlier completion
                self._say(self._complaint(turn, reading))
                unreadable += 1
                if unreadable == MOST_UNREADABLE:
                    raise TaskOver(Ending("limit:repeat", f"{unreadable} answers in a row could not be read"))
                continue
            unreadable = 0
            screen = await self._typed(session, answer.commands)
            if answer.task_complete and asked:
                raise TaskOver(Ending("submitted"))
            asked = answer.task_complete
            if asked:
                screen = filled(self.prompt.confirm, screen=screen)
            self._say(self._with_warnings(screen, reading))

    async def _next_turn(self) -> AcceptedTurn:
        self._dialogue.check_budget()
        await self._dialogue.check_room()
        return self._dialogue.accept(await self._dialogue.step())

    def _say(self, text: str) -> None:
        self._dialogue.say(_message(text))

    def _complaint(self, turn: AcceptedTurn, reading: Reading) -> str:
        problems = _listed([reading.problem, *reading.warnings])
        if not (turn.whole.content or "").strip() and "calls_without_tools" in turn.sent.differences:
            problems = _listed(["it was a call of a tool, and there are no tools"])
        if not turn.cut:
            self._dialogue.log.count(["unreadable_answer"])
            return filled(self.prompt.unreadable, problems=problems)
        self._dialogue.log.count(["cut_answer"])
        most = self._dialogue.max_output
        return filled(self.prompt.cut, problems=problems, limit=f"{most:,} tokens" if most else "the server allows")

    def _with_warnings(self, screen: str, reading: Reading) -> str:
        if not reading.warnings:
            return screen
        self._dialogue.log.count(["warned_answer"])
        return filled(self.prompt.warned, problems=_listed(reading.warnings), screen=screen)

    # The terminal

    async def _open(self) -> TerminalSession:
        try:
            terminal = await self.sandbox.open_terminal(SETUP + SHELL, columns=COLUMNS, rows=ROWS)
        except OSError as error:
            message = f"no terminal could be opened: {error.strerror or error}"
            raise SandboxError(message) from error
        session = TerminalSession(terminal, new_screen())
        await session.settle(OPENING, for_change=True)
        return session

    async def _typed(self, session: TerminalSession, commands: Sequence[Command]) -> str:
        """Type them and wait after each as long as it says; what is new on the terminal then."""
        started = time.monotonic()
        remark = ""
        try:
            for number, command in enumerate(commands, start=1):
                if session.ended:
                    break
                try:
                    await session.send(_bytes(command, session))
                except OSError as error:
                    reason = error.strerror or error
                    remark = f"[the keys of command {number}, and what follows it, were not typed: {reason}]\n"
                    break
                await self.pause(command.duration)
            await session.settle(CAPTURE, for_change=False)
        finally:
            self._terminal_seconds += time.monotonic() - started
        return remark + look(session.screen)


async def _in_flight_ended(session: TerminalSession, ending: Ending) -> Ending:
    """End what is typed and not done yet: whose time is over finishes nothing."""
    try:
        await session.end_foreground()
    except SandboxError as failure:
        return Ending("error", f"what still ran at the end could not be ended: {failure}", "sandbox", failure)
    return ending


def _bytes(command: Command, session: TerminalSession) -> bytes:
    return encode_verbatim(restore(command.keystrokes), application_cursor=session.screen.application_cursor)


def _message(text: str) -> dict[str, str]:
    return {"role": "user", "content": sendable(text)}


def _listed(problems: Sequence[str]) -> str:
    return "\n".join(f"- {problem}" for problem in problems if problem)


def _shell_ended(session: TerminalSession) -> str:
    how = "" if session.exit_code is None else f" (exit {session.exit_code})"
    return f"the shell on the terminal has ended{how}, and the work with it"
