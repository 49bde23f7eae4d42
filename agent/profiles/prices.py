"""Prices of hosted models, dated and with their source; a person's own table comes before the one that comes along.

A person's own is `$XDG_CONFIG_HOME/unbroken/prices.toml`. Prices change: each entry says on which day it was read, and
one that is older than STALE_DAYS is said to be.
"""

from datetime import date
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field

from agent.dialects.patterns import matches_any
from agent.profiles.profile import Pattern
from agent.profiles.registry import config_directory, read_toml
from agent.profiles.stated import Cells
from results.records.usage import Prices

STALE_DAYS = 180


class PriceEntry(Cells):
    """US dollars for a million tokens of one model at one host."""

    model: Pattern
    host: Pattern
    prompt: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)
    cache_write: float | None = Field(default=None, ge=0)
    dated: date
    """The day on which the source said so."""
    source: str = Field(min_length=1)

    def fits(self, host: str, model: str) -> bool:
        """Whether this is the price of that model there."""
        return matches_any((self.host,), host) and matches_any((self.model,), model)


class PriceTable(Cells):
    """A file of prices."""

    prices: tuple[PriceEntry, ...] = ()


def own_prices_path() -> Path:
    """Where a person's own table lies, whether there is one or not."""
    return config_directory() / "prices.toml"


def find_prices(base_url: str, model: str) -> Prices | None:
    """The price of a model at that address; None where no table has it. Raises ProfileError for a table of one's own.

    The first entry that fits holds.
    """
    host = urlsplit(base_url).hostname or ""
    entry = next((entry for entry in _entries() if entry.fits(host, model)), None)
    if entry is None:
        return None
    return Prices(**entry.model_dump(exclude={"model", "host", "dated"}), dated=entry.dated.isoformat())


def has_prices(base_url: str) -> bool:
    """Whether any table has a price at that address."""
    host = urlsplit(base_url).hostname or ""
    return any(matches_any((entry.host,), host) for entry in _entries())


def age_warning(prices: Prices, today: date) -> str | None:
    """A sentence where the prices are too old to be trusted; None where they are not, or are a person's own word."""
    if prices.dated is None:
        return None
    days = (today - date.fromisoformat(prices.dated)).days
    if days <= STALE_DAYS:
        return None
    return f"the price was read on {prices.dated}, {days} days ago, and may have changed: --price gives another"


def _entries() -> tuple[PriceEntry, ...]:
    own = own_prices_path()
    built_in = Path(str(resources.files("agent").joinpath("profiles", "prices.toml")))
    tables = [read_toml(path, PriceTable) for path in (own, built_in) if path.is_file()]
    return tuple(entry for table in tables for entry in table.prices)
