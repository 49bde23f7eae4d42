#!/bin/bash
mkdir -p /app && python3 - >/app/refused.txt <<'PYTHON'
import urllib.error
import urllib.request

for host in ("allowed.invalid", "one.also.invalid", "other.invalid", "invalid"):
    try:
        urllib.request.urlopen(f"http://{host}", timeout=20)
    except urllib.error.HTTPError as error:
        if error.code == 403:
            print(host)
PYTHON
