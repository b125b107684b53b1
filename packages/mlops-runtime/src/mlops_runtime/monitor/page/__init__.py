"""The HTML page of a window."""
