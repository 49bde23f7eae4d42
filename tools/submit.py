"""The `submit` tool: the model says that its work is done, and the trial ends there."""

from pydantic import Field

from tools.parameters import Parameters
from tools.sandbox import OutputListener, Sandbox
from tools.tool import Access, ToolResult


class SubmitParameters(Parameters):
    """What a call of `submit` takes."""

    note: str = Field(default="", description="What you did, in a sentence or two. It may be left out.")


class Submit:
    """Ends the work, with everything as it is now."""

    name = "submit"
    description = (
        "Hand in your work as it is now. Call it once, alone, when everything is done and checked: nothing can be "
        "done after it."
    )
    parameters = SubmitParameters

    def access(self, arguments: SubmitParameters) -> Access:  # noqa: ARG002
        """Say that nothing is changed."""
        return "read"

    async def __call__(
        self,
        arguments: SubmitParameters,  # noqa: ARG002 - the note is for whoever reads the call
        sandbox: Sandbox,  # noqa: ARG002
        on_output: OutputListener | None = None,  # noqa: ARG002
    ) -> ToolResult:
        """Answer that this is the end."""
        return ToolResult("Submitted.", submitted=True)
