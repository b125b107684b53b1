"""A unit whose models are served by a third-party container."""
