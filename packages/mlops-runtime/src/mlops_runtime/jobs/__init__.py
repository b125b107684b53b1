"""Entrypoints of the jobs that the Retrain machine starts."""
