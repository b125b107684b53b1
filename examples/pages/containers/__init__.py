"""Adapters from third-party model servers to the container contract; each runs in its own environment."""
