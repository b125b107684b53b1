"""A data scientist's own model on own data: what a team writes, and nothing else."""
