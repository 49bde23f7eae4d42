#!/bin/bash
python3 - <<'PYTHON'
from pathlib import Path

sums = [f"{one} + {other} = {one + other}\n" for one, other in [(417, 238), (596, 377), (184, 909)]]
assert Path("/app/opened.txt").read_text() == "".join(sums)
PYTHON
echo $((!$?)) >/logs/verifier/reward.txt
