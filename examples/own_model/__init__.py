"""A data scientist's own model on own data: only the code that a team writes."""
