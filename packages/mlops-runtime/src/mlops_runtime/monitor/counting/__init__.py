"""Capture lines and columns to counts against a baseline, and the baselines themselves."""
