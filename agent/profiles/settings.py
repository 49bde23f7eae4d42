"""Puts together what holds for a run: the command line, over the preset, over the profile; the rest is the server's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.profiles.preset import Preset
from agent.profiles.profile import Mode, Profile
from agent.profiles.registry import ProfileError, fitting_profile, presets, profiles
from agent.profiles.stated import Sampling, Stated

SAMPLING = ("max_output", *Sampling.model_fields)
"""What goes into a request, by our names."""

AnyStated = Stated[Any]


@dataclass(frozen=True)
class Choice:
    """The names that a person gives on the command line."""

    preset: str | None = None
    profile: str | None = None
    mode: str | None = None
    model: str | None = None
    """The served model's name, by which a profile is found where a mode is named without one."""


@dataclass(frozen=True)
class Settings:
    """What holds, and where each value comes from."""

    preset: str | None = None
    profile: str | None = None
    mode: str | None = None
    values: Mapping[str, AnyStated] = field(default_factory=dict[str, AnyStated])

    def __getitem__(self, name: str) -> Any:
        """The value of that name; None where nobody states one."""
        stated = self.values.get(name)
        return None if stated is None else stated.value

    @property
    def sampling(self) -> dict[str, Any]:
        """What goes into every request, by our names."""
        return {name: self.values[name].value for name in SAMPLING if name in self.values}

    @property
    def origins(self) -> dict[str, str]:
        """`published: …` or `ours: …`, for each value."""
        return {name: stated.origin for name, stated in self.values.items()}


def resolve(choice: Choice, given: Mapping[str, Any]) -> Settings:
    """What holds where `given` is on the command line; what is None there is not given.

    A mode that is named on the command line wins over the preset; a profile alone only fills in what that leaves open.
    Raises ProfileError.
    """
    preset = presets().load(choice.preset) if choice.preset else None
    profile, mode = _profile_and_mode(choice, preset)
    of_mode = _mode_values(profile.modes[mode]) if profile and mode else {}
    of_preset = _preset_values(preset) if preset else {}
    layers = {**of_preset, **of_mode} if choice.mode else {**of_mode, **of_preset}
    stated = {name: Stated[Any](value=value, ours="given on the command line") for name, value in given.items()}
    values = {**layers, **{name: value for name, value in stated.items() if value.value is not None}}
    return Settings(choice.preset, profile.name if profile else None, mode, values)


def missing_parts(settings: Settings, supported: Mapping[str, tuple[Any, ...] | None]) -> list[str]:
    """What of a preset a command cannot do, each as a phrase, so that nothing is applied by half.

    `supported` has the names that the command can set, each with the values that it can take; None stands for any.
    """
    missing: list[str] = []
    for name, stated in settings.values.items():
        values = supported.get(name, ())
        if values is not None and stated.value not in values:
            missing.append(f"{name} {stated.value}")
    return missing


def _profile_and_mode(choice: Choice, preset: Preset | None) -> tuple[Profile | None, str | None]:
    name = choice.profile or (preset.profile if preset else None)
    profile = profiles().load(name) if name else None
    if profile is None and choice.mode and choice.model:
        profile = fitting_profile(choice.model)
    if profile is None:
        if choice.mode:
            message = f"--mode {choice.mode} is one of a profile: name it with --profile {'|'.join(profiles().names())}"
            raise ProfileError(message)
        return None, None
    mode = choice.mode or (preset.mode if preset and not choice.profile else None) or profile.default_mode
    if mode not in profile.modes:
        message = f"the profile {profile.name} has no mode {mode!r}; it has: {', '.join(profile.modes)}"
        raise ProfileError(message)
    return profile, mode


def _mode_values(mode: Mode) -> dict[str, AnyStated]:
    return {**mode.sampling.values(), "thinking": mode.thinking}


def _preset_values(preset: Preset) -> dict[str, AnyStated]:
    named: dict[str, AnyStated | None] = {
        **preset.sampling.values(),
        "thinking": preset.thinking,
        "preserve": preset.preserve,
        "context": preset.context,
        "max_output": preset.max_output,
        "agent": preset.agent,
        "toolset": preset.toolset,
        "prompt": preset.prompt,
        "attempts": preset.attempts,
        "steps": preset.limits.steps,
        "seconds": preset.limits.seconds,
        "cpus": preset.resources.cpus,
        "memory_gib": preset.resources.memory_gib,
    }
    return {name: stated for name, stated in named.items() if stated is not None}
