#!/bin/bash
sleep 3 # long enough for whoever goes on working
[ "$(cat /app/word.txt)" = early ]
echo $((!$?)) >/logs/verifier/reward.txt
