"""The audit of a trajectory: what its tool calls did, put before the rules (docs/trace-audit.md).

It says what was tried and, where the results tell, whether it worked. It is a reader of commands, no proof: what a
program does inside is not seen, and somebody who hides well is not found. The clean room and the hardened verdict are
what keeps a score honest; this says where to look.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from agent.terminus.agent import NAME as TERMINUS
from evals.audit.call_rules import CallAudit
from evals.audit.calls import CallContent, read_call
from evals.audit.git_rules import shows_history
from evals.audit.programs import Program, programs_in
from evals.audit.project import Project
from evals.audit.rules import Hit
from evals.audit.scene import Scene
from evals.audit.typed_commands import typed_commands
from results.records.audit import Finding, Success, TraceAudit
from results.records.events import Event, MessageEvent, ResponseEvent, StartEvent, ToolResultEvent
from results.trajectory import read_trajectory

VERSION = 1
"""Of the rules; raised when the same trajectory would be found to have broken others."""

_FAILED = re.compile(
    r"Could not resolve host|Temporary failure in name resolution|Network is unreachable|Name or service not known"
    r"|unable to access|Failed to establish a new connection|Max retries exceeded|Connection refused"
    r"|No matching distribution found|unable to resolve host address|does not appear to be a git repository"
    r"|fatal: (?:bad|ambiguous|unknown|invalid|not a|Not a|No remote)|unknown revision|command not found"
    r"|error connecting to|No such file or directory|pathspec '"
)


def audit_trajectory(path: Path, repository: str) -> TraceAudit:
    """Audit a `trajectory.jsonl` of a task on `repository` (`owner/name`).

    Raises DamagedFileError for a line that is no event, OSError where the file cannot be read.
    """
    return audit_events(read_trajectory(path), repository)


def audit_events(events: Iterable[Event], repository: str) -> TraceAudit:
    """Audit the events of one trajectory, from its first on. Whatever a model wrote, this does not fail."""
    reader = _Reader(Scene(Project(repository)))
    for line, event in enumerate(events, start=1):
        reader.read(line, event)
    return reader.finish()


@dataclass(frozen=True)
class _Call:
    """A call that waits for its result."""

    line: int
    step: int
    name: str
    arguments: str


class _Reader:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._waiting: dict[str, list[_Call]] = {}
        self._findings: list[Finding] = []
        self._calls = 0
        self._calls_of = _calls

    def read(self, line: int, event: Event) -> None:
        if isinstance(event, StartEvent):
            self._scene = Scene(Project(self._scene.project.repository, event.directory or "/"))
            self._calls_of = typed_commands if event.agent == TERMINUS else _calls
        elif isinstance(event, MessageEvent) and event.sent.get("role") == "user":
            self._scene.learn_commits(_text_of(event.sent.get("content")))
        elif isinstance(event, ResponseEvent) and not event.discarded:
            self._audit_unanswered()
            for identifier, name, arguments in self._calls_of(event):
                self._calls += 1
                self._waiting.setdefault(identifier, []).insert(0, _Call(line, event.step, name, arguments))
        elif isinstance(event, ToolResultEvent):
            waiting = self._waiting.get(str(event.sent.get("tool_call_id")))
            if waiting:
                self._audit(waiting.pop(), event)

    def finish(self) -> TraceAudit:
        self._audit_unanswered()
        findings = sorted(self._findings, key=lambda one: one.line)
        return TraceAudit(auditor=VERSION, calls=self._calls, findings=findings)

    def _audit_unanswered(self) -> None:
        for calls in self._waiting.values():
            for call in reversed(calls):
                self._audit(call, None)
        self._waiting = {}

    def _audit(self, call: _Call, result: ToolResultEvent | None) -> None:
        content = read_call(call.arguments)
        output = "" if result is None else _text_of(result.sent.get("content"))
        success = _success(content, result, output)
        hits = CallAudit(self._scene, took_effect=success != "attempted").hits(content)
        self._findings += [_finding(call, hit, success) for hit in hits]
        if not any(hit.rule.severity == "leak" for hit in hits) and _shows_history(content):
            self._scene.learn_commits(output)


def _finding(call: _Call, hit: Hit, success: Success) -> Finding:
    rule = hit.rule
    return Finding(
        rule=rule.name,
        severity=rule.severity,
        meaning=rule.meaning,
        line=call.line,
        step=call.step,
        tool=call.name,
        excerpt=hit.excerpt,
        success=success,
    )


def _calls(event: ResponseEvent) -> Iterator[tuple[str, str, str]]:
    """Id, name and arguments of the calls of a turn, as they were understood."""
    if event.sent is None:
        yield from ((call.id, call.name, call.arguments) for call in event.received.tool_calls)
        return
    listed: Any = event.sent.get("tool_calls")
    for call in cast("list[Any]", listed) if isinstance(listed, list) else []:
        function: Any = cast("dict[str, Any]", call).get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            spelled = cast("dict[str, Any]", function)
            identifier = str(cast("dict[str, Any]", call).get("id"))
            yield identifier, str(spelled.get("name")), str(spelled.get("arguments") or "")


def _success(content: CallContent, result: ToolResultEvent | None, output: str) -> Success:
    if result is None:
        return "unknown"
    if result.denied or result.is_error:
        return "attempted"
    if result.exit_code is None:
        return "unknown" if content.scripts else "succeeded"
    if result.exit_code == 0:
        return "attempted" if content.scripts and _FAILED.search(output) else "succeeded"
    # The status is that of the last command: of several, an earlier one may have worked.
    return "attempted" if sum(_commands(text) for text in content.scripts) <= 1 or _FAILED.search(output) else "unknown"


def _commands(text: str) -> int:
    return sum(isinstance(one, Program) and one.name not in ("", "cd") for one in programs_in(text))


def _shows_history(content: CallContent) -> bool:
    return any(isinstance(one, Program) and shows_history(one) for text in content.scripts for one in programs_in(text))


def _text_of(content: object) -> str:
    """The text of a message, whose content may be a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [cast("dict[str, Any]", part) for part in cast("list[Any]", content) if isinstance(part, dict)]
    return "\n".join(str(part.get("text", "")) for part in parts)
