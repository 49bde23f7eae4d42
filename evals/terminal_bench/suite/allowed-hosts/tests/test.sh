#!/bin/bash
python3 - <<'PYTHON'
import socket
import urllib.error
import urllib.request
from pathlib import Path

assert Path("/app/refused.txt").read_text().split() == ["other.invalid", "invalid"]
for host, code, said in (("other.invalid", 403, "is not among the hosts"), ("allowed.invalid", 502, "resolved")):
    try:
        urllib.request.urlopen(f"http://{host}", timeout=20)
    except urllib.error.HTTPError as error:
        answer = error.read().decode()
        assert error.code == code and said in answer, (host, error.code, answer)
    else:
        raise AssertionError(host)
try:
    socket.create_connection(("192.0.2.1", 80), 5)
except OSError as error:
    print(error)
else:
    raise AssertionError("there is a way around the list")
PYTHON
echo $((!$?)) >/logs/verifier/reward.txt
