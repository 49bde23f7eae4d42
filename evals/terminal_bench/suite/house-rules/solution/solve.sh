#!/bin/bash
echo R26/0017 >/app/number.txt
