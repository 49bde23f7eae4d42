#!/bin/bash
cmp /app/word.txt /app/report.txt && [ "$(cat /app/data/number.txt)" = 7 ] &&
  [ ! -e /app/data/scratch.tmp ] && [ ! -e /app/elsewhere.txt ] && [ "$(cat /logs/artifacts/note.txt)" = always ]
echo $((!$?)) >/logs/verifier/reward.txt
