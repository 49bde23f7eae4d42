#!/bin/bash
python3 - <<'PYTHON'
import os
import pty
import re

process, terminal = pty.fork()
if not process:
    os.execvp("vault", ["vault"])
for _ in range(3):
    said = ""
    while not (asked := re.search(r"(\d+) \+ (\d+) = $", said)):
        said += os.read(terminal, 1000).decode()
    os.write(terminal, f"{int(asked[1]) + int(asked[2])}\n".encode())
os.waitpid(process, 0)
PYTHON
