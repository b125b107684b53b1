"""The page of a window."""
