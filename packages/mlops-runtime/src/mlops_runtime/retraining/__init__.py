"""Decisions on when to retrain a model, and when to register the candidate."""
