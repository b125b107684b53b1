"""Wheels of the runtime's functions and Glue jobs: hash-pinned locks, and their download."""
