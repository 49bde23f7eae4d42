# The first process of a container, in plain sh. It starts the first shell worker as its child, with the streams of the
# attached connection, tells the harness when that ends, and buries orphans for as long as the container lives. The
# kernel gives it no signal from inside that it does not handle, `kill -9 -1` and `kill -9 1` included.
#
# After the worker it forks nothing: where an agent has used up its processes, a fork fails and would end a shell.
# Set before: `worker`, a function; `mark`, the line on stderr that tells its end; `entrypoint`, what is started beside,
# in sh, if anything is.

# Something to read from that never says anything and never ends: a pipe whose other end is held here as well.
exec 9<<NOTHING
NOTHING
if [ -p /proc/self/fd/9 ]; then
  exec 9<>/proc/self/fd/9
else
  set +o posix # bash before 5.1 keeps that text in a file
  eval 'exec 9<> <(:)'
fi

exec 3<&0 4>&1 5>&2 <&9 >/dev/null 2>&1
trap '' HUP INT QUIT PIPE TERM USR1 USR2
if [ "$entrypoint" ]; then
  (
    trap - HUP INT QUIT PIPE TERM USR1 USR2
    exec </dev/null 3<&- 4>&- 5>&- 9<&-
    unset -v text line end mark
    eval "exec $entrypoint"
  ) &
fi
# In the foreground: with `&`, it and every command of an agent would never hear an interrupt.
(
  trap - HUP INT QUIT PIPE TERM USR1 USR2
  exec <&3 >&4 2>&5 3<&- 4>&- 5>&- 9<&-
  unset -v text line end entrypoint
  worker
)
printf '\n%s\n' "$mark" >&5
exec 3<&- 4>&- 5>&-
unset -v text line end mark entrypoint
unset -f worker

# From here on the kernel buries what dies, where the shell does not do so itself; `jobs` makes it look.
trap '' CHLD
while :; do
  jobs
  read -r _ <&9
done
