#!/bin/bash
python3 - <<'PYTHON'
import urllib.error
import urllib.request
from pathlib import Path

assert Path("/app/allowed.txt").read_text() == "agent.invalid\n"
for host, code in (("agent.invalid", 403), ("tests.invalid", 502)):
    try:
        urllib.request.urlopen(f"http://{host}", timeout=20)
    except urllib.error.HTTPError as error:
        assert error.code == code, (host, error.code)
    else:
        raise AssertionError(host)
PYTHON
echo $((!$?)) >/logs/verifier/reward.txt
