"""Counts to verdicts: rules, effect sizes, persistence, replay."""
