#!/bin/bash
mkdir -p /app && echo early >/app/word.txt
(sleep 6 && echo late >/app/word.txt) &
sleep 6 && echo late >/app/word.txt
sleep 60
