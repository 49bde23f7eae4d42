"""Carries out the calls of a turn. A call that cannot be carried out is answered too: with what was wrong."""

from dataclasses import dataclass

from pydantic import ValidationError

from agent.approval import Approval, Decision
from agent.turn import SentCall
from tools.output import header, neutralise
from tools.sandbox import OutputListener, Sandbox, SandboxError
from tools.tool import ToolResult, explain_invalid_arguments
from tools.toolset import Toolset

_ECHO_LENGTH = 200
_AFTER_SUBMIT = "The call was not run: the work was submitted before it, in the same turn."


class ToolFailedError(Exception):
    """A tool did what no tool may: it raised. A mistake of ours, never of a model."""


@dataclass(frozen=True)
class Answer:
    """The result of a call, and what was decided about it."""

    result: ToolResult
    decision: Decision


@dataclass(frozen=True)
class CallRunner:
    """Runs calls of one agent in its sandbox, as far as the approval policy allows."""

    toolset: Toolset
    sandbox: Sandbox
    approval: Approval
    on_output: OutputListener

    async def run(self, call: SentCall, *, cut: bool) -> Answer:
        """Answer a call; `cut` is one that the output limit broke off, which is never run.

        Raises SandboxError, and ToolFailedError.
        """
        refusal = _explain_cut(call) if cut else self._problem(call)
        if refusal is not None:
            return Answer(_refusal(refusal), Decision(allowed=True))
        return await self._perform(call)

    def not_run_after_submit(self) -> Answer:
        """Answer a call that stands behind the one with which the work was handed in."""
        return Answer(_refusal(_AFTER_SUBMIT), Decision(allowed=True))

    def _problem(self, call: SentCall) -> str | None:
        name = call.written.name
        if all(tool.name != name for tool in self.toolset):
            names = ", ".join(tool.name for tool in self.toolset)
            return f"There is no tool {name[:_ECHO_LENGTH]!r}. The tools are: {names}."
        if call.problem is not None:
            return _explain_unreadable(call.written.arguments, call.problem)
        return None

    async def _perform(self, call: SentCall) -> Answer:
        tool = next(tool for tool in self.toolset if tool.name == call.written.name)
        try:
            arguments = tool.parameters.model_validate(call.arguments)
        except ValidationError as error:
            return Answer(_refusal(explain_invalid_arguments(tool, error)), Decision(allowed=True))
        decision = await self.approval.decide(tool.name, call.written.arguments, tool.access(arguments))
        if not decision.allowed:
            return Answer(_refusal(decision.reason), decision)
        try:
            return Answer(await tool(arguments, self.sandbox, self.on_output), decision)
        except SandboxError:
            raise
        except Exception as failure:  # the boundary of a tool: a mistake in one ends its task, and no other
            message = f"the tool {tool.name} failed: {failure!r}"
            raise ToolFailedError(message) from failure


def _refusal(sentence: str) -> ToolResult:
    return ToolResult(f"{header(None, 0)}\n{neutralise(sentence)}", is_error=True)


def _explain_cut(call: SentCall) -> str:
    sentence = "The call was cut off by the output limit and was not run. Make it shorter."
    return sentence if call.problem is None else f"{sentence} {_quote(call.written.arguments)}"


def _explain_unreadable(written: str, problem: str) -> str:
    if written.startswith("<"):  # recovered from where a server had left it, and not whole (see `agent.recovery`)
        return f"The call was incomplete and was not run. Make it again, in one piece. {_quote(written)}"
    return f"The arguments are no JSON object ({problem}), so the call was not run. {_quote(written)}"


def _quote(arguments: str) -> str:
    if len(arguments) <= _ECHO_LENGTH:
        return f"Its arguments were: {arguments}"
    return f"Its arguments began: {arguments[:_ECHO_LENGTH]}"
