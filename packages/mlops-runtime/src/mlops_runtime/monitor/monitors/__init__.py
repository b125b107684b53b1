"""One module a monitor, the mathematics beside it."""
