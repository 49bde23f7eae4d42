#!/bin/bash
mkdir -p /app && ls /sys/class/net | grep -v '^\(tunl\|gre\|gretap\|erspan\|ip_vti\|ip6_vti\|sit\|ip6tnl\|ip6gre\)0$' >/app/interfaces.txt
