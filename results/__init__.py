"""What came out of runs: the records on disk, and how they are read, counted and shown."""
