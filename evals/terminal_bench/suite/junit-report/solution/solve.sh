#!/bin/bash
mkdir -p /app
cat >/app/roman.py <<'PYTHON'
VALUES = {1000: "M", 900: "CM", 500: "D", 400: "CD", 100: "C", 90: "XC", 50: "L", 40: "XL", 10: "X", 9: "IX", 5: "V",
          4: "IV", 1: "I"}


def roman(number):
    said = ""
    for value, letters in VALUES.items():
        count, number = divmod(number, value)
        said += letters * count
    return said
PYTHON
