#!/bin/bash
[ "$(stat -c %U /tmp/alone.txt) $(cat /tmp/alone.txt)" = "daemon daemon lo" ]
echo $((!$?)) >/logs/verifier/reward.txt
