"""The drift monitor: tests, effect sizes, decisions, replay."""
