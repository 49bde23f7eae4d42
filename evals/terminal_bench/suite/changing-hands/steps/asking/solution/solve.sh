#!/bin/bash
python3 - >/tmp/answers.txt <<'PYTHON'
import urllib.error
import urllib.request

for host in ("allowed.invalid", "other.invalid"):
    try:
        urllib.request.urlopen(f"http://{host}", timeout=20)
    except urllib.error.HTTPError as error:
        print(error.code)
PYTHON
