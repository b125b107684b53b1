"""The command mlops."""
