#!/bin/bash
[ "$(cat /app/sum.txt)" = 42 ]
echo $((!$?)) >/logs/verifier/reward.txt
