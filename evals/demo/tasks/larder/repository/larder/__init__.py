"""A small cache in memory that forgets what has not been used for longest."""

from larder.cache import Cache
from larder.memoize import memoize

__all__ = ["Cache", "memoize"]
