#!/bin/bash
mkdir -p /app && cd /sys/fs/cgroup || exit
if [ -e memory.max ]; then
  cat memory.max && cut -d ' ' -f 1 cpu.max
else
  cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us
fi >/app/limits.txt
