"""Programs that are hardly MCP servers, by hand and without the SDK, in JSON lines: `python raw_mcp_server.py KIND`.

`raw` has a tool `do` that writes what it is told to write, in place of an answer; `brittle` dies of a request that it
does not know; `broken` ends at once; `silent` never says a word.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def serve(*, dies_of_the_unknown: bool) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        answer: dict[str, Any] | None = None
        match message["method"]:
            case "initialize":
                about = {"name": "by hand", "version": "0"}
                answer = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": about}
            case "tools/list":
                foreign = json.loads(os.environ.get("TOOLS", "[]"))
                answer = {"tools": [{"name": "do", "inputSchema": {"type": "object"}}, *foreign]}
            case "tools/call":
                misbehave(message["id"], **message["params"]["arguments"])
            case _ if dies_of_the_unknown and "id" in message:
                sys.exit(1)
            case "server/discover":
                error = {"code": -32601, "message": "there is no such method"}
                print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}), flush=True)
            case _:
                pass
        if answer is not None:
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": answer}), flush=True)


def misbehave(number: Any, write: str, *, close: bool = False) -> None:
    os.write(1, write.replace("ID", json.dumps(number)).encode("latin-1"))
    if close:
        os.close(1)
        time.sleep(1000)


if __name__ == "__main__":
    print("started", file=sys.stderr, flush=True)
    match sys.argv[1]:
        case "raw" | "brittle" as kind:
            serve(dies_of_the_unknown=kind == "brittle")
        case "silent":
            Path("started").touch()
            signal.pause()
        case _:
            sys.exit("cannot go on")
