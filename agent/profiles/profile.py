"""A model as its card describes it: the names it is served under, its context and output, its modes with sampling."""

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from agent.dialects.patterns import check_pattern, matches_any
from agent.profiles.stated import Cells, Sampling, Stated

Pattern = Annotated[str, AfterValidator(check_pattern)]
"""A regular expression, matched anywhere and without regard to case."""


class Context(Cells):
    """Context windows in tokens."""

    native: Stated[int]
    extended: Stated[int] | None = None
    """What the server can be made to give, and how."""


class Output(Cells):
    """Lengths of one response in tokens, thinking included."""

    usual: Stated[int]
    hard: Stated[int] | None = None
    """For problems that need long thinking."""


class Mode(Cells):
    """A way to run the model."""

    title: str
    thinking: Stated[bool]
    sampling: Sampling


class Profile(Cells):
    """One model."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    title: str
    served_as: tuple[Pattern, ...] = ()
    """What a served model is called that is this one: ids of hubs, tags, file names."""
    default_mode: str
    """The mode that a coding agent runs in unless another is named."""
    context: Context
    output: Output | None = None
    """None: its card says nothing."""
    modes: dict[str, Mode]

    @model_validator(mode="after")
    def _has_its_default_mode(self) -> "Profile":
        if self.default_mode not in self.modes:
            message = f"default_mode is {self.default_mode!r}, and the modes are: {', '.join(self.modes)}"
            raise ValueError(message)
        return self

    def fits(self, served_name: str) -> bool:
        """Whether a model that is served under this name may be this one."""
        return matches_any(self.served_as, served_name)
