#!/bin/bash
printf '%s\n' $((256 * 1024 * 1024)) 100000 | cmp - /app/limits.txt
echo $((!$?)) >/logs/verifier/reward.txt
