"""Conformance servers: one real HTTP server for each server family, healthy or broken, with a model that notices.

    with conformance_server("vllm") as server:
        ask(server.url)                          # http://127.0.0.1:PORT/v1, or the family's own base path
        assert server.last.prompt_text           # what the model read, rendered with Qwen3.6's rules
        assert not server.avoidable_losses       # prompt N + what it wrote begins prompt N + 1

What a family does is data, `families/NAME.yaml`, with a source for each part. It is the independent truth that the
product's dialect table is tested against: nothing here may import that table, nor may the fixtures follow it.

**Families** `families()` names them; `load_behaviour(name)` reads one; `behaviour.changed("reasoning", emitted_as="x")`
is a copy with other cells, and `conformance_server` takes a behaviour as well as a name.

**Faults** go on top of any family: `faults=[Fault.PRESERVE_IGNORED, fault(Fault.HTTP_ERROR, status=429, times=2,
retry_after="1")]`. `after` spares the first requests, `times` ends the fault, `only="streamed"` or `"whole"` limits
it, `at` is the event or byte it strikes. Each kind's sentence in `Fault` names the parameters that it knows.
`server.set_faults(…)` changes them while it runs.

**The model** (`responder`) sees the rendered prompt and nothing else. It
 - calls tools that the last user message names ("call the tool `read_file` with path=a.txt"), once; two calls when
   asked for two ("in parallel", "both", "twice"); arguments from JSON objects in the message, from `name=value`, or
   made up by the schema; then tells what the tool said;
 - thinks up two numbers of 20 digits when asked to choose numbers, and tells the first; asked for the "second number"
   it tells the last number of 20 digits within a `<think>` block of the prompt, or makes one up;
 - counts ("count to 500"), says ("reply with exactly OK"), describes images ("I see an image. It is red.", "I see no
   image."), and otherwise answers something that no other prompt would get;
 - begins with thinking of its own for each prompt, unless thinking is off.
With `script=[Reply(reasoning, content, calls), …]` reply n answers a request that holds n assistant messages; past
the end the model answers by itself. `Call(name, arguments, raw=…)` writes a call as the template would not.

**The journal** `server.journal` holds an `Exchange` for each chat request: `raw`, `body`, `request`, `prompt`,
`prompt_text`, `generated_text`, `prompt_tokens`, `cached_tokens` (true, whatever `usage` says), `usage`, `status`,
`response`, `events` (for one fault at each of them), `delivered`, `truncated`, `prefix`. `server.inquiries` has the
requests to other paths. An entry is whole before the last byte of its response is sent.

**The prefix** `exchange.prefix` compares with the exchange that this one goes on from (same first user message, no
longer than this): `lost_tokens`, `lost_characters`, and `losses` with a `Cause` each; `cause.avoidable` tells what a
client can help. A cut or a lost answer that the next prompt could still begin with is no loss.

`conformance.desk` is a plain client for tests of the servers themselves.

By hand: `cd tests && python -m conformance llama.cpp --port 8080 --fault PRESERVE_IGNORED`.
"""

from typing import Any

from conformance.behaviour import ServerBehaviour, families, load_behaviour
from conformance.exchange import Exchange
from conformance.faults import TRANSPORT, ActiveFault, Fault
from conformance.prefix import Cause, Loss, PrefixReport
from conformance.responder import Call, Reply
from conformance.server import ConformanceServer, Inquiry, conformance_server

__all__ = [
    "TRANSPORT",
    "ActiveFault",
    "Call",
    "Cause",
    "ConformanceServer",
    "Exchange",
    "Fault",
    "Inquiry",
    "Loss",
    "PrefixReport",
    "Reply",
    "ServerBehaviour",
    "conformance_server",
    "families",
    "fault",
    "load_behaviour",
]


def fault(kind: Fault, **parameters: Any) -> ActiveFault:
    """A fault with parameters; see `ActiveFault`. Raises ValueError for a parameter that there is none of."""
    return ActiveFault(kind=kind, **parameters)
