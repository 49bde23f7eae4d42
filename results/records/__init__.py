"""The records that a run leaves on disk: versioned pydantic models, one module for each kind of file.

`FORMAT` is written into every file. A change that an older reader would misread raises it, and adds a golden run
of the new version to `tests/data`; older versions stay readable.
"""

FORMAT = 2
