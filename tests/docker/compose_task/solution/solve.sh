#!/bin/bash
python3 -c "import urllib.request as u; print(u.urlopen('http://the-web:8000/word').read().decode(), end='')" >word.txt
