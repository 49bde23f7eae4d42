#!/bin/bash
if [ "$(cat /app/number.txt)" = R26/0017 ]; then echo 1; else echo 0; fi >/logs/verifier/reward.txt
