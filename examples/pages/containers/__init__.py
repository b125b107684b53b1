"""Adapters that let servers of other makers keep the container contract; each runs in an environment of its own."""
