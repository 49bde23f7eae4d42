"""What can be wrong with a template, or with what it is given."""


class TemplateError(Exception):
    """The template itself cannot be rendered."""


class MissingValueError(TemplateError):
    """The template needs a value that it was not given."""
