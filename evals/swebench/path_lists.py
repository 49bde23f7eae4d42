"""Lists of paths, as the scripts of verifiers take and print them: each path ended by a NUL, each list by an empty one.

Half surrogates stand for bytes that are no UTF-8.
"""

from collections.abc import Iterable

REMOVE = """
while IFS= read -r -d '' path; do
  folder=
  IFS=/ read -r -a parts <<<"$path"
  for part in "${parts[@]:0:${#parts[@]}-1}"; do
    folder=$folder$part
    if [ -L "$folder" ] || { [ -e "$folder" ] && [ ! -d "$folder" ]; }; then rm -f -- "$folder"; fi
    folder=$folder/
  done
  rm -rf -- "$path"
done
"""
"""A script for bash that takes paths and removes them, and what stands in the way of one, such as a link in the place
of its folder."""


def encode_paths(paths: Iterable[str]) -> bytes:
    """A list of paths for the input of a script."""
    return b"".join(path.encode("utf-8", "surrogateescape") + b"\0" for path in paths)


def decode_lists(printed: bytes) -> list[list[str]]:
    """The lists that a script has printed; one of none where it printed nothing."""
    lists: list[list[str]] = [[]]
    for name in printed.decode("utf-8", "surrogateescape").removesuffix("\0").split("\0"):
        if name:
            lists[-1].append(name)
        else:
            lists.append([])
    return lists
