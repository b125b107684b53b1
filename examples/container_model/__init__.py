"""A unit whose models are served by a container of others."""
