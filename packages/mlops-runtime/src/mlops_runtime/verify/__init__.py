"""Verification on AWS in the user's own account: a unit is deployed, checked and deleted within a budget."""
