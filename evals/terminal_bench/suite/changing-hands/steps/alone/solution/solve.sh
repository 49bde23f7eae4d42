#!/bin/bash
echo "$(id -un) $(sed 1,2d /proc/net/dev | cut -d : -f 1 | xargs)" >/tmp/alone.txt
