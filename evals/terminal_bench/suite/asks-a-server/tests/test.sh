#!/bin/bash
expected=$((16#$(printf 'north 4711' | sha256sum | head -c 6)))
if [ "$(cat /app/balance.txt)" = "$expected" ]; then echo 1; else echo 0; fi >/logs/verifier/reward.txt
