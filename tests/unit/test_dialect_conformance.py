"""Every dialect against the server family of its name, over real sockets: nothing is lost that can be kept.

The families behave as fixtures of their own say (`conformance/families`), which know nothing of the dialects.
"""

import json
from collections.abc import Generator

import pytest
from conformance.behaviour import families
from dialect_checks import check_conversation
from dialect_desk import Asked, Servers, behaviour_for, contrary, open_servers
from dialect_served_checks import HOSTS, check_detection, check_served, names_of_this_machine
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
    check_sizes_of_overflow,
    seeing,
    too_small,
)
from dialect_variants import pages, proxies, variants, wordings

from agent.backends import BackendOptions, open_backend
from agent.dialects.registry import load_dialect

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


@pytest.mark.parametrize("mode", ["thinking", "thinking, whole", "not thinking"])
@pytest.mark.parametrize("family", [*families(), "omlx"])
async def test_five_turns(servers: Servers, family: str, mode: str):
    server = servers.serving(behaviour_for(family))
    await check_conversation(server, load_dialect(family), MODES[mode])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("family", [*families(), "omlx"])
async def test_what_is_asked_for_is_done_whatever_the_default(servers: Servers, family: str, mode: str):
    server = servers.serving(contrary(behaviour_for(family), MODES[mode]))
    await check_conversation(server, load_dialect(family), MODES[mode])


OTHERS = [(family, name) for family in families() for name in variants(family)]


@pytest.mark.parametrize("mode", ["thinking", "thinking, whole", "not thinking"])
@pytest.mark.parametrize(("family", "variant"), OTHERS)
async def test_other_builds_and_models(servers: Servers, family: str, variant: str, mode: str):
    server = servers.serving(contrary(variants(family)[variant], MODES[mode]))
    await check_conversation(server, load_dialect(family), MODES[mode])


@pytest.mark.parametrize(
    "check",
    [
        check_counting,
        check_detection,
        check_hopeless,
        check_output_cap,
        check_passing,
        check_rendering,
        check_sampling,
        check_served,
    ],
)
@pytest.mark.parametrize("family", families())
async def test_server(servers: Servers, family: str, check: Check):
    await check(servers.serving(behaviour_for(family)), load_dialect(family))


@pytest.mark.parametrize("check", [check_detection, check_served])
@pytest.mark.parametrize(("family", "page"), [(family, page) for family in families() for page in pages(family)])
async def test_server_that_tells_more_or_less(servers: Servers, family: str, page: str, check: Check):
    await check(servers.serving(pages(family)[page]), load_dialect(family))


@pytest.mark.parametrize("family", families())
async def test_prompt_that_is_too_long(servers: Servers, family: str):
    await check_overflow(servers.serving(too_small(behaviour_for(family))), load_dialect(family))


@pytest.mark.parametrize("family", families())
async def test_backend_is_opened_as_what_it_is(servers: Servers, family: str):
    server = servers.serving(behaviour_for(family))
    (host, *_) = HOSTS.get(family, ("127.0.0.1",))
    options = BackendOptions(sampling={"max_output": 4_096})
    with names_of_this_machine():
        async with open_backend(server.url.replace("127.0.0.1", host), options) as backend:
            description = backend.description
    dialect = load_dialect(family)
    assert (description.dialect, description.dialect_sha256) == (family, dialect.sha256())
    assert description.model.removeprefix("models/") == server.behaviour.model
    assert description.sampling[dialect.output.key] == 4_096
    told = "{window}" in json.dumps([endpoint.body for endpoint in server.behaviour.endpoints])
    assert description.context_window == (server.behaviour.context.window if told else None)


@pytest.mark.parametrize("proxy", proxies("generic"))
async def test_proxy_is_none_of_the_families_behind_it(servers: Servers, proxy: str):
    await check_detection(servers.serving(proxies("generic")[proxy]), load_dialect("generic"))


@pytest.mark.parametrize(("family", "words"), [(family, words) for family in families() for words in wordings(family)])
async def test_refusal_in_other_words(servers: Servers, family: str, words: str):
    await check_overflow(servers.serving(too_small(wordings(family)[words])), load_dialect(family))


@pytest.mark.parametrize("family", REFUSES)
async def test_sizes_in_a_refusal(servers: Servers, family: str):
    await check_sizes_of_overflow(servers.serving(too_small(behaviour_for(family))), load_dialect(family))


@pytest.mark.parametrize("family", families())
async def test_pictures(servers: Servers, family: str):
    await check_pictures(servers.serving(seeing(behaviour_for(family))), load_dialect(family))
