#!/bin/bash
mkdir -p /app/data
cp /app/word.txt /app/report.txt
echo 7 >/app/data/number.txt
echo x >/app/data/scratch.tmp
echo x >/app/elsewhere.txt
echo always >/logs/artifacts/note.txt
