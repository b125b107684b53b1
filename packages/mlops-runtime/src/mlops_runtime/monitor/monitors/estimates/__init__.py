"""Estimate performance before labels arrive: estimators of the labelled holdout, expected metrics of a window, their scores."""
