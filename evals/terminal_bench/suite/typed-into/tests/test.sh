#!/bin/bash
python3 - <<'PYTHON'
import re
from pathlib import Path

lines = Path("/app/opened.txt").read_text().splitlines()
assert len(lines) == 3, lines
for line in lines:
    one, other, total = map(int, re.fullmatch(r"(\d{3}) \+ (\d{3}) = (\d+)", line).groups())
    assert one + other == total, line
PYTHON
echo $((!$?)) >/logs/verifier/reward.txt
