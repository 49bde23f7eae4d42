"""An answer on its way through the relay: passed on as it came, and read along the way."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from agent.dialects.dialect import Dialect
from agent.stream import TurnAssembler
from agent.turn import AssistantTurn
from results.records.usage import Usage

_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_PROBLEM_LENGTH = 300


class PassingAnswer:
    """Takes the pieces of one answer, and says what of them goes on.

    A stream goes on event by event. What cannot be read goes on all the same: it is the agent's to judge.
    """

    def __init__(self, dialect: Dialect, clean: Callable[[bytes], bytes], *, hides_usage: bool) -> None:
        """`clean` takes out what nobody may see. `hides_usage`: the relay alone asked for the event with the counts."""
        self._assembler = TurnAssembler(dialect)
        self._clean = clean
        self._hides_usage = hides_usage
        self._rest = b""
        self.is_over = False
        """Whether a stream has said that it ends here."""
        self.problem = ""
        """Why it cannot be read, or what error it holds."""

    @property
    def has_begun(self) -> bool:
        """Whether the model said anything."""
        return self._assembler.has_begun

    @property
    def is_complete(self) -> bool:
        """Whether the model ended its turn."""
        return self._assembler.is_complete and not self.problem

    @property
    def usage(self) -> Usage:
        """What the server counted."""
        return self._assembler.usage

    def turn(self) -> AssistantTurn:
        """What was said, as far as it came."""
        return self._assembler.turn()

    def add_streamed(self, piece: bytes) -> bytes:
        """Take a piece of a stream; returns what goes on now."""
        passed, begun = list[bytes](), self._rest + piece
        start = 0
        for end in _EVENT_END.finditer(begun):
            event = begun[start : end.end()]
            start = end.end()
            if not self._read_event(event):
                passed.append(event)
        self._rest = begun[start:]
        return self._clean(b"".join(passed))

    def rest(self) -> bytes:
        """What is left of a stream that ended in the middle of an event."""
        rest, self._rest = self._rest, b""
        return self._clean(rest)

    def add_whole(self, body: bytes) -> bytes:
        """Take an answer that is not streamed; returns what goes on."""
        try:
            answer: Any = json.loads(body)
            if not self._is_error(answer):
                self._assembler.add_whole(answer)
        except (ValueError, RecursionError) as error:
            self.problem = f"the answer cannot be read: {error}"[:_PROBLEM_LENGTH]
        return self._clean(body)

    def _read_event(self, event: bytes) -> bool:
        """Read an event; returns whether it is the one with the counts that the agent did not ask for."""
        lines = [line for line in _LINE_END.split(event) if line.startswith(b"data:")]
        data = b"\n".join(line.removeprefix(b"data:").removeprefix(b" ") for line in lines)
        self.is_over = self.is_over or data.startswith(b"[DONE]")
        if not data or self.is_over or self.problem:
            return False
        try:
            chunk: Any = json.loads(data)
            if self._is_error(chunk):
                return False
            self._assembler.add(chunk)
        except (ValueError, RecursionError) as error:
            self.problem = f"the answer cannot be read: {error}"[:_PROBLEM_LENGTH]
            return False
        return self._hides_usage and chunk.get("choices") == [] and bool(chunk.get("usage"))

    def _is_error(self, answer: object) -> bool:
        """Whether it is an error under status 200, as gateways send it."""
        if not isinstance(answer, Mapping):
            return False
        fields = cast("Mapping[str, Any]", answer)
        error = fields.get("error") or (fields if fields.get("object") == "error" else None)
        if error:
            said = self._clean(json.dumps(error, ensure_ascii=False).encode("utf-8", "replace")).decode()
            self.problem = f"the answer is an error: {said}"[:_PROBLEM_LENGTH]
        return bool(error)
