#!/bin/bash
if [ "$(cat /app/word.txt)" = plover ] && [ ! -e /tests/notes.txt ]; then echo 1; else echo 0; fi \
  >/logs/verifier/reward.txt
