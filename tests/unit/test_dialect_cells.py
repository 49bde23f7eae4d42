"""A wrong cell in a dialect is noticed: the checks of its family fail with it.

Each cell of each dialect is replaced in turn, and the check that is about it has to fail. The few that go unnoticed
are listed in `dialect_unnoticed`, each with the reason; a cell that is listed there and is noticed fails as well.
"""

import re
from collections.abc import Generator

import pytest
from conformance.behaviour import families
from dialect_checks import check_conversation
from dialect_desk import Asked, Servers, behaviour_for, contrary, open_servers
from dialect_mutations import Mutation, mutations
from dialect_served_checks import check_detection, check_served
from dialect_server_checks import (
    Check,
    check_counting,
    check_hopeless,
    check_output_cap,
    check_overflow,
    check_passing,
    check_pictures,
    check_rendering,
    check_sampling,
    seeing,
    too_small,
)
from dialect_unnoticed import UNNOTICED, reason
from dialect_variants import pages, proxies, variants, wordings

from agent.dialects.dialect import Dialect
from agent.dialects.registry import load_dialect

SECTIONS = (
    "reasoning", "thinking", "usage", "behaviours", "cache_block", "overflow", "failures", "detection", "output",
    "sampling", "images", "counting", "rendering", "served",
)  # fmt: skip
BOTH_WAYS = (Asked(), Asked(stream=False))
ASKED = {
    "thinking.off": (Asked(thinking=False),),
    "thinking.forget": (Asked(preserve=False),),
    "thinking": (Asked(),),
}
"""How a conversation has to be asked for, so that a wrong cell shows in it; both ways where nothing is said."""

CHECKS: dict[str, Check] = {
    "failures.passing": check_passing,
    "failures.hopeless": check_hopeless,
    "detection": check_detection,
    "output": check_output_cap,
    "sampling": check_sampling,
    "counting": check_counting,
    "rendering": check_rendering,
    "served": check_served,
}


@pytest.fixture(scope="module")
def servers() -> Generator[Servers]:
    with open_servers() as opened:
        yield opened


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("family", families())
async def test_wrong_cell_is_noticed(servers: Servers, family: str, section: str):
    wrong = [mutation for mutation in mutations(load_dialect(family)) if mutation.section == section]
    unnoticed = {mutation.cell for mutation in wrong if not await is_noticed(servers, family, mutation)}
    listed = {mutation.cell for mutation in wrong if reason(family, mutation.cell)}
    assert unnoticed - listed == set(), "wrong cells that nobody notices"
    assert listed - unnoticed == set(), "listed in dialect_unnoticed, and noticed all the same"


@pytest.mark.parametrize("family", families())
def test_what_is_listed_as_unnoticed_is_a_cell(family: str):
    cells = [mutation.cell for mutation in mutations(load_dialect(family))]
    stale = [pattern for pattern in UNNOTICED[family] if not any(re.fullmatch(pattern, cell) for cell in cells)]
    assert stale == []


async def is_noticed(servers: Servers, family: str, mutation: Mutation) -> bool:
    try:
        await check(servers, family, mutation.cell, mutation.dialect)
    except AssertionError:
        return True
    return False


async def check(servers: Servers, family: str, cell: str, dialect: Dialect) -> None:
    """The check that is about a cell, on all servers of the family that could show that it is wrong."""
    healthy = behaviour_for(family)
    if cell.startswith(("reasoning", "thinking", "usage", "behaviours", "cache_block")):
        for asked in next((ways for part, ways in ASKED.items() if cell.startswith(part)), BOTH_WAYS):
            for behaviour in (*variants(family).values(), healthy):
                await check_conversation(servers.serving(contrary(behaviour, asked)), dialect, asked)
    elif cell.startswith("overflow"):
        for behaviour in (healthy, *wordings(family).values()):
            await check_overflow(servers.serving(too_small(behaviour)), dialect)
    elif cell.startswith("images"):
        await check_pictures(servers.serving(seeing(healthy)), dialect)
    else:
        one = next(one for part, one in CHECKS.items() if cell.startswith(part))
        others = pages(family) if cell.startswith(("served", "detection")) else {}
        proxied = proxies(family) if cell.startswith("detection") else {}
        for behaviour in (healthy, *others.values(), *proxied.values()):
            await one(servers.serving(behaviour), dialect)
