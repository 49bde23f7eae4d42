"""A published setting under one name: everything that its publication says, and what we add where it is silent."""

from pydantic import Field

from agent.dialects.patterns import matches_any
from agent.profiles.profile import Pattern
from agent.profiles.stated import AgentName, Cells, Sampling, Stated


class PresetLimits(Cells):
    """What one trial may spend."""

    steps: Stated[int] | None = None
    seconds: Stated[float] | None = None


class Resources(Cells):
    """What one trial's container has."""

    cpus: Stated[float] | None = None
    memory_gib: Stated[float] | None = None


class Preset(Cells):
    """One setting. What is not there is left as it would be without the preset."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    title: str
    models: tuple[Pattern, ...] = ()
    """What a served model is called for which the setting was published; none: any."""
    profile: str | None = None
    mode: str | None = None
    """A mode of `profile`, whose sampling holds where the preset has none of its own."""
    sampling: Sampling = Field(default_factory=Sampling)
    thinking: Stated[bool] | None = None
    preserve: Stated[bool] | None = None
    """Whether thinking is kept across user messages."""
    context: Stated[int] | None = None
    max_output: Stated[int] | None = None
    agent: Stated[AgentName] | None = None
    toolset: Stated[str] | None = None
    prompt: Stated[str] | None = None
    """A prompt set's name, or its folder."""
    attempts: Stated[int] | None = None
    limits: PresetLimits = Field(default_factory=PresetLimits)
    resources: Resources = Field(default_factory=Resources)

    def fits(self, served_name: str) -> bool:
        """Whether the setting was published for a model that is served under this name."""
        return not self.models or matches_any(self.models, served_name)
