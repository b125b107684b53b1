"""Example stacks."""
