"""What a person should hear once it is known which model answers: a profile that fits, a preset that does not."""

from datetime import date

from agent.profiles.prices import age_warning
from agent.profiles.registry import ProfileError, fitting_profile, presets
from agent.profiles.settings import Settings
from results.records.usage import Prices


def advice(settings: Settings, served_model: str, prices: Prices | None, today: date) -> list[str]:
    """Sentences, none of which stops anything. A profile is suggested by the served name, never taken for it."""
    said: list[str] = []
    if settings.preset is not None and not presets().load(settings.preset).fits(served_model):
        said.append(f"the preset {settings.preset} was published for another model than {served_model}")
    if not settings.sampling and (name := _suggestion(served_model)):
        said.append(f"sampling is the server's own; --profile {name} fits the served name, and takes its model card's")
    if prices is not None and (warning := age_warning(prices, today)):
        said.append(warning)
    return said


def _suggestion(served_model: str) -> str | None:
    try:
        profile = fitting_profile(served_model)
    except ProfileError:  # a file of one's own that nobody asked for must not stop the work
        return None
    return profile.name if profile else None
