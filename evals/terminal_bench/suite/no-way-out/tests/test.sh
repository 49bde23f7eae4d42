#!/bin/bash
python3 - <<'PYTHON'
import errno
import socket
from pathlib import Path

assert Path("/app/interfaces.txt").read_text() == "lo\n"
try:
    socket.create_connection(("192.0.2.1", 80), 5)
except OSError as error:
    assert error.errno == errno.ENETUNREACH, error
else:
    raise AssertionError("there is a way out")
PYTHON
echo $((!$?)) >/logs/verifier/reward.txt
