"""Every dialect against the server family of its name, over real sockets: nothing is lost that can be kept.

The families behave as fixtures of their own say (`conformance/families`), which know nothing of the dialects.
"""

from collections.abc import Awaitable, Callable, Generator

import pytest
from conformance.behaviour import families
from conformance.server import ConformanceServer
from dialect_checks import check_conversation
from dialect_desk import Asked, Servers, behaviour_for, contrary, open_servers
from dialect_server_checks import (
    check_counting,
    check_failures,
    check_output_cap,
    check_overflow,
    check_pictures,
    check_rendering,
    check_sampling,
    check_served,
    check_sizes_of_overflow,
    too_small,
)

from agent.dialects.dialect import Dialect
from agent.dialects.registry import load_dialect

Check = Callable[[ConformanceServer, Dialect], Awaitable[None]]

MODES = {
    "thinking": Asked(),
    "thinking, whole": Asked(stream=False),
    "forgetting": Asked(preserve=False),
    "not thinking": Asked(thinking=False),
    "not thinking, whole": Asked(thinking=False, stream=False),
}
REFUSES = [family for family in families() if behaviour_for(family).context.overflow == "refused"]


@pytest.fixture(scope="module")
def servers() -> Generator[Servers]:
    with open_servers() as opened:
        yield opened


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", [*families(), "omlx"])
async def test_five_turns(servers: Servers, family: str, mode: str):
    server = servers.serving(behaviour_for(family))
    await check_conversation(server, load_dialect(family), MODES[mode])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", [*families(), "omlx"])
async def test_what_is_asked_for_is_done_whatever_the_default(servers: Servers, family: str, mode: str):
    server = servers.serving(contrary(behaviour_for(family), MODES[mode]))
    await check_conversation(server, load_dialect(family), MODES[mode])


@pytest.mark.parametrize(
    "check", [check_served, check_output_cap, check_counting, check_rendering, check_sampling, check_failures]
)
@pytest.mark.parametrize("family", families())
async def test_server(servers: Servers, family: str, check: Check):
    await check(servers.serving(behaviour_for(family)), load_dialect(family))


@pytest.mark.parametrize("family", families())
async def test_prompt_that_is_too_long(servers: Servers, family: str):
    await check_overflow(servers.serving(too_small(behaviour_for(family))), load_dialect(family))


@pytest.mark.parametrize("family", REFUSES)
async def test_sizes_in_a_refusal(servers: Servers, family: str):
    await check_sizes_of_overflow(servers.serving(too_small(behaviour_for(family))), load_dialect(family))


@pytest.mark.parametrize("family", families())
async def test_pictures(servers: Servers, family: str):
    behaviour = behaviour_for(family).changed("images", vision=True)
    await check_pictures(servers.serving(behaviour), load_dialect(family))
