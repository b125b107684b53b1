"""Attributions and how far their ranking moved."""
