"""Retraining: the jobs, the machine, the guard and what triggers them."""
