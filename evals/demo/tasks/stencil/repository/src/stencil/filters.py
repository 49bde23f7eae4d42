"""What can be done to a value on its way into the text."""

import json

FILTERS = {
    "upper": str.upper,
    "lower": str.lower,
    "title": str.title,
    "trim": str.strip,
    "quote": json.dumps,
}
