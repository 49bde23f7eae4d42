#!/bin/bash
python3 -c 'print(sum(map(int, open("data/numbers.txt"))))' >sum.txt
