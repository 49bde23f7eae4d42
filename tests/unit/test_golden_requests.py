"""The request bodies of a conversation of five turns, for each dialect, as they stand in `data/golden_requests`.

They are there to be read: one message a line, so that a change of what is sent shows as what it is. To renew them
after a change that is meant, and then to read the difference:

    RENEW_GOLDEN_REQUESTS=1 python -m pytest tests/unit/test_golden_requests.py
    git diff tests/data/golden_requests
"""

import hashlib
import json
import os
from collections.abc import Generator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conformance.behaviour import families
from dialect_desk import SYSTEM, Asked, Servers, behaviour_for, open_servers, play

from agent.conversation import encode
from agent.dialects.registry import load_dialect

FOLDER = Path(__file__).parents[1] / "data" / "golden_requests"
RENEWS = bool(os.environ.get("RENEW_GOLDEN_REQUESTS"))
NAMES = [*families(), "omlx"]
SAMPLING = {
    "max_output": 4_096,
    "temperature": 1.0,
    "top_p": 0.95,
    "top_k": 20,
    "min_p": 0.0,
    "presence_penalty": 0.0,
    "repetition_penalty": 1.0,
}
"""By our names; each dialect sends what its servers take, under their names."""

Body = dict[str, Any]


@pytest.fixture(scope="module")
def servers() -> Generator[Servers]:
    with open_servers() as opened:
        yield opened


@pytest.mark.parametrize("dialect", NAMES)
async def test_requests_are_what_they_were(servers: Servers, dialect: str):
    sent = await requests_of(servers, dialect)
    file = FOLDER / f"{dialect}.json"
    if RENEWS:
        file.write_text(written(sent), encoding="utf-8")
    golden: list[Body] = json.loads(file.read_text(encoding="utf-8"))
    for number, (before, raw) in enumerate(zip(golden, sent, strict=True), 1):
        assert differences(before["body"], json.loads(raw)) == [], f"request {number}"
        assert encode(before["body"]) == raw, f"request {number}: the same cells, in other bytes"
        assert before["sha256"] == hashlib.sha256(raw).hexdigest()


@pytest.mark.parametrize("dialect", NAMES)
async def test_each_request_begins_with_the_one_before(servers: Servers, dialect: str):
    sent = await requests_of(servers, dialect)
    assert len(sent) == 5
    for earlier, later in pairwise(sent):
        assert later.startswith(earlier.removesuffix(b"]}"))


def test_a_difference_is_named_by_its_message():
    user, tool = {"role": "user", "content": "a"}, {"role": "tool", "content": "b"}
    before = {"temperature": 1.0, "messages": [user, tool]}
    after = {"top_k": 1, "messages": [user, {**tool, "content": "c"}, {"role": "user"}]}
    assert differences(before, after) == [
        "temperature: 1.0 became nothing",
        "top_k: nothing became 1",
        'message 1 (tool), content: "b" became "c"',
        'message 2 (user): nothing became {"role": "user"}',
    ]


def test_there_is_no_file_without_a_dialect():
    assert {file.stem for file in FOLDER.glob("*.json")} == set(NAMES)


async def requests_of(servers: Servers, dialect: str) -> list[bytes]:
    """The bodies that are sent for the five turns; ids come from the server, which takes them from what it is sent."""
    server = servers.serving(behaviour_for(dialect))
    await play(server, load_dialect(dialect), Asked(sampling=SAMPLING), system=SYSTEM)
    return [exchange.raw for exchange in server.journal]


def written(sent: Sequence[bytes]) -> str:
    """The file's text: JSON with one field, and one message, a line."""
    requests: list[str] = []
    for raw in sent:
        body: Body = json.loads(raw)
        lines = [f"  {_text(key)}: {_text(value)}" for key, value in body.items() if key != "messages"]
        messages = ",\n".join(f"   {_text(message)}" for message in body["messages"])
        lines.append(f'  "messages": [\n{messages}\n  ]')
        requests.append(f' {{"sha256": "{hashlib.sha256(raw).hexdigest()}", "body": {{\n' + ",\n".join(lines) + "\n }}")
    return "[\n" + ",\n".join(requests) + "\n]\n"


def differences(before: Body, after: Body) -> list[str]:
    """What is not the same, by field, and by message."""
    found = _changed("", *({key: body[key] for key in body if key != "messages"} for body in (before, after)))
    old, new = before["messages"], after["messages"]
    for number in range(max(len(old), len(new))):
        one, other = (messages[number] if number < len(messages) else None for messages in (old, new))
        where = f"message {number} ({(one or other or {})['role']})"
        if one is None or other is None:
            found.append(f"{where}: {_shown(one)} became {_shown(other)}")
        else:
            found += _changed(f"{where}, ", one, other)
    return found


def _changed(where: str, before: Body, after: Body) -> list[str]:
    return [
        f"{where}{key}: {_shown(before.get(key))} became {_shown(after.get(key))}"
        for key in {**before, **after}
        if before.get(key) != after.get(key) or (key in before) != (key in after)
    ]


def _shown(value: Any) -> str:
    return "nothing" if value is None else _text(value)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
