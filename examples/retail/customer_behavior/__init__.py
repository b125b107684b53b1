"""Predicts whether a household buys in a category within the next 14 days."""
