"""The wheels that the runtime's functions and Glue jobs need: hash-pinned locks, and how they are fetched."""
