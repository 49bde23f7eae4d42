"""The cache."""

from collections import OrderedDict


class Cache:
    """Keeps up to `size` entries: those that were used last, by reading or by writing."""

    def __init__(self, size):
        if size < 1:
            raise ValueError(f"a cache needs room for at least one entry, not {size}")
        self.size = size
        self.hits = 0
        self.misses = 0
        self._entries = OrderedDict()

    def get(self, key, default=None):
        """Return the value of `key` and count that as a use; `default` when there is none."""
        if key not in self._entries:
            self.misses += 1
            return default
        self.hits += 1
        self._entries.move_to_end(key)
        return self._entries[key]

    def peek(self, key, default=None):
        """Return the value of `key` without counting that as a use."""
        return self._entries.get(key, default)

    def put(self, key, value):
        """Store `value` under `key`; a full cache forgets the entry that was used longest ago."""
        if len(self._entries) >= self.size:
            self._entries.popitem(last=False)
        self._entries[key] = value

    def remove(self, key):
        """Forget `key`, if it is there."""
        self._entries.pop(key, None)

    def clear(self):
        """Forget everything, the counts of hits and misses too."""
        self._entries.clear()
        self.hits = self.misses = 0

    def keys(self):
        """List the keys, the one that was used longest ago first."""
        return list(self._entries)

    def __contains__(self, key):
        return key in self._entries

    def __len__(self):
        return len(self._entries)
