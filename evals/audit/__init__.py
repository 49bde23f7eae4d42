"""The trace audit: what an agent did, looked through for leakage and cheating (docs/trace-audit.md)."""
