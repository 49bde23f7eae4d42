#!/bin/bash
python3 -m pytest -p no:cacheprovider --junitxml=/logs/verifier/junit.xml /tests/roman_checks.py
echo $((!$?)) >/logs/verifier/reward.txt
