"""Templates, and how they are rendered."""

import re

from stencil.errors import MissingValueError, TemplateError
from stencil.filters import FILTERS

_PLACEHOLDER = re.compile(r"\{\{\s*(?P<name>\w+)\s*(?:\|\s*(?P<filter>\w+)\s*)?\}\}")


class Template:
    """A text with placeholders such as `{{ name }}` or `{{ name | upper }}`."""

    def __init__(self, text):
        self.text = text

    @property
    def names(self):
        """The names that the template needs, in the order in which they first appear."""
        return list(dict.fromkeys(match["name"] for match in _PLACEHOLDER.finditer(self.text)))

    def render(self, **values):
        """Return the text with every placeholder replaced by its value."""
        result = self.text
        for match in _PLACEHOLDER.finditer(self.text):
            value = self._value(match["name"], match["filter"], values)
            result = re.sub(re.escape(match[0]), value, result)
        return result

    def _value(self, name, filter_name, values):
        if name not in values:
            raise MissingValueError(f"no value for {name!r}")
        value = str(values[name])
        if filter_name is None:
            return value
        if filter_name not in FILTERS:
            raise TemplateError(f"no filter {filter_name!r}; there are: {', '.join(FILTERS)}")
        return FILTERS[filter_name](value)
