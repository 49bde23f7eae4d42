#!/bin/bash
interfaces=$(sed 1,2d /proc/net/dev | cut -d : -f 1 | xargs)
[ "$(stat -c %U /tmp/answers.txt) $(xargs </tmp/answers.txt)" = "nobody 502 403" ] && [ "$interfaces$http_proxy" = lo ]
echo $((!$?)) >/logs/verifier/reward.txt
