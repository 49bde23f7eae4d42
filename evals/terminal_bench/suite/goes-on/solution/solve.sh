#!/bin/bash
[ -e /solution/notes.txt ] || echo plover >/app/word.txt
