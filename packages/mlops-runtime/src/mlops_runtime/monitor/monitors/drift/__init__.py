"""Drift: counts to verdicts, rules, effect sizes, replay."""
