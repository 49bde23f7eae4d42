# The persistent shell's worker for images without bash, in plain sh: `shell_worker.bash` says what it does and what is
# said on its streams. What differs:
# - A command stands between two lines with the token, each ended by a line break: sh reads lines, and no NUL.
# - Its subshell is forked when it is there, in the foreground: in the background it would be deaf to interrupts.
# - Functions and, where sh has them, arrays do not stay: it cannot list them.
# - The nonce is told apart from the command's subshell alone by being unset there.

unset -v PLAIN_SHELL_WORKER
_worker_folder=$1 _worker_directory=$2 _worker_profile=$3
set --
exec 3<&0 4>&1 5>&2 </dev/null >/dev/null 2>/dev/null 9<&-

_worker_plain() { # folder, name: whatever was made of that file, it is one that can be written
  [ -f "$1/$2" ] && [ ! -h "$1/$2" ] && [ -w "$1/$2" ] && return 0
  command -p rm -rf -- "$1/$2"
  if [ -h "$1" ] || [ ! -d "$1" ] || [ ! -w "$1" ]; then
    command -p rm -rf -- "$1"
    command -p mkdir -p -m 700 -- "$1"
  fi
  command printf '' >>"$1/$2"
}

_worker_save() { # folder, name of the file, its stamp
  unset -v PS1 PS2 PS4 _worker_command _worker_line
  command alias >"$1/$2-aliases"
  {
    # In this order: what is read-only cannot be set again.
    command printf '#%s\n' "$3" && set && export -p && readonly -p &&
      command printf 'umask ' && command umask && command printf '_worker_whole=yes\n'
  } >"$1/$2"
}

_worker_end() { # status, folder, name of the file, its stamp: the last thing that a command's subshell does
  if [ ! "$_worker_ended" ]; then
    _worker_ended=yes
    set +euxvfnC
    trap '' XFSZ
    for _worker_line in "$3" "$3-aliases" current; do _worker_plain "$2" "$_worker_line"; done
    _worker_save "$2" "$3" "$4" && command printf '%s %s\n' "$3" "$4" >"$2/current"
  fi
  return "$1"
}

_worker_load() { # folder, the file with the state, its stamp
  _worker_whole= _worker_line=
  [ -f "$1/$2" ] && IFS= read -r _worker_line <"$1/$2"
  [ "$_worker_line" = "#$3" ] || return 1
  # `alias` prints no commands. They come last, since they would change the others; one of several lines is lost.
  set -- "$1/$2" :
  if [ -s "$1-aliases" ] && [ -f "$1-aliases" ]; then
    while IFS= read -r _worker_line; do
      case $_worker_line in [A-Za-z0-9_]*=\'*\') set -- "$1" "$2; alias $_worker_line" ;; esac
    done <"$1-aliases"
  fi
  . "$1" >/dev/null 2>&1
  [ "$_worker_whole" ] || return 1
  # What was sourced set these as they were; the directory is still the worker's.
  _worker_gone=
  set -- "$2" "$PWD" "$OLDPWD"
  command cd -- "$2" || _worker_gone=yes
  OLDPWD=$3
  eval "$1"
}

_worker_take() { # token: the command, up to that line
  IFS= read -r _worker_line <&3 && [ "$_worker_line" = "$1" ] || return 1
  _worker_command= _worker_chunk= _worker_lines=0
  while IFS= read -r _worker_line <&3; do
    if [ "$_worker_line" = "$1" ]; then
      _worker_command=$_worker_command$_worker_chunk
      return 0
    fi
    _worker_chunk=$_worker_chunk$_worker_line$_worker_break
    # In chunks, since it copies all that is there for every line.
    if [ "$((_worker_lines += 1))" -ge 200 ]; then
      _worker_command=$_worker_command$_worker_chunk _worker_chunk= _worker_lines=0
    fi
  done
  return 1
}

_worker_break='
'
for _worker_name in a b current initial names a-aliases b-aliases initial-aliases; do
  _worker_plain "$_worker_folder" "$_worker_name"
done
if (_worker_load "$_worker_folder" initial initial) then :; else
  (
    trap '_worker_save "$_worker_folder" initial initial' EXIT
    cd "$_worker_directory"
    if [ -n "$_worker_profile" ] && [ -f "$_worker_profile" ]; then . "$_worker_profile"; fi
  )
fi
_worker_current=initial _worker_stamp=initial
IFS=' ' read -r _worker_name _worker_line <"$_worker_folder/current"
if [ "$_worker_name" ]; then _worker_current=$_worker_name _worker_stamp=$_worker_line; fi
# What a command unsets must not come back from the worker's own environment.
export -p >"$_worker_folder/names"
while IFS= read -r _worker_line; do
  _worker_line=${_worker_line#export } _worker_line=${_worker_line%%=*}
  case $_worker_line in '' | [0-9]* | *[!A-Za-z0-9_]*) ;; *) unset -v "$_worker_line" ;; esac
done <"$_worker_folder/names"
printf '\nready sh\n' >&5

_worker_next() { # take a request
  while IFS=' ' read -r _worker_nonce _worker_token _worker_order <&3; do
    case $_worker_order in
      keep) ;;
      fresh) _worker_current=initial _worker_stamp=initial ;;
      *) continue ;;
    esac
    if [ "$_worker_current" = a ]; then _worker_file=b; else _worker_file=a; fi
    return 0
  done
  return 1
}

_worker_begin() { # in the subshell, before the command
  exec 1>&4 2>&4 4>&-
  trap 'exit 125' EXIT
  unset -v _worker_nonce _worker_order
  _worker_take "$_worker_token" || { trap - EXIT; exit 124; }
  IFS=' ' read -r _worker_line _worker_chunk </proc/self/stat
  # What was saved holds these names as well.
  set -- "$_worker_folder" "$_worker_file" "$_worker_token" "$_worker_command" "$_worker_line"
  _worker_load "$1" "$_worker_current" "$_worker_stamp" || exit
  _worker_folder=$1 _worker_file=$2 _worker_token=$3 _worker_command=$4 _worker_ended=
  unset -v _worker_line _worker_chunk _worker_lines _worker_loop _worker_name _worker_directory _worker_profile
  command printf '\n%s %s\n' "$3" "$5" >&5
  exec 3<&- 5>&-
  [ ! "$_worker_gone" ] || command printf 'The working directory is gone; this is %s.\n' "$(command pwd)"
  trap '{ _worker_end "$?" "$_worker_folder" "$_worker_file" "$_worker_token"; } 2>/dev/null' EXIT
}

_worker_tell() { # status: how the command ended
  _worker_saved=unsaved _worker_line=
  [ -f "$_worker_folder/current" ] && IFS=' ' read -r _worker_name _worker_line <"$_worker_folder/current"
  if [ "$_worker_line" = "$_worker_token" ]; then
    _worker_saved=saved _worker_current=$_worker_file _worker_stamp=$_worker_token
  fi
  printf '\n%s %s %s\n' "$_worker_nonce" "$1" "$_worker_saved" >&4
}

# On one line, by which a shell counts those of a command: who starts this text evaluates it, on the first line of all.
_worker_loop='while _worker_next; do (_worker_begin; eval "$_worker_command"; '
_worker_loop=$_worker_loop'{ _worker_end "$?" "$_worker_folder" "$_worker_file" "$_worker_token"; } 2>/dev/null); '
_worker_loop=$_worker_loop'_worker_tell "$?"; done'
