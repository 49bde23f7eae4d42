#!/bin/bash
# The service goes on answering while the tests run, and main is as its file says.
word=$(python3 -c "import urllib.request as u; print(u.urlopen('http://web:8000/health').read().decode(), end='')")
if [ "$word" = heron ] && [ "$(cat /app/word.txt)" = heron ] && [ "$PRICE" = 'a$b' ] && [ -d /shared ]; then
    echo 1 >/logs/verifier/reward.txt
else
    echo 0 >/logs/verifier/reward.txt
fi
