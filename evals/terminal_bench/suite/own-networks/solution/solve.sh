#!/bin/bash
mkdir -p /app && python3 - >/app/allowed.txt <<'PYTHON'
import urllib.error
import urllib.request

for host in ("agent.invalid", "tests.invalid"):
    try:
        urllib.request.urlopen(f"http://{host}", timeout=20)
    except urllib.error.HTTPError as error:
        if error.code != 403:
            print(host)
PYTHON
