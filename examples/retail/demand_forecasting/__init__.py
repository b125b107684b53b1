"""Forecasts the units of each category that a store sells in the next week."""
