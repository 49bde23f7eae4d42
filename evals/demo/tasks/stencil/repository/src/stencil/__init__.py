"""Text templates with nothing in them but names."""

from stencil.errors import MissingValueError, TemplateError
from stencil.template import Template

__all__ = ["MissingValueError", "Template", "TemplateError"]
