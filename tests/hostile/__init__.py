"""Commands that break other harnesses, each with what must be seen of it."""
