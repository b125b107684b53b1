"""Baselines, and counts of capture lines and columns against a baseline."""
