"""A decorator that remembers what a function returned."""

import functools

from larder.cache import Cache

_NOTHING = object()


def memoize(size=128):
    """Keep the results of the last `size` different calls; arguments must be hashable.

    The cache is the decorated function's attribute `cache`.
    """

    def decorate(function):
        cache = Cache(size)

        @functools.wraps(function)
        def call(*args, **kwargs):
            key = (args, tuple(sorted(kwargs.items())))
            result = cache.get(key, _NOTHING)
            if result is _NOTHING:
                result = function(*args, **kwargs)
                cache.put(key, result)
            return result

        call.cache = cache
        return call

    return decorate
