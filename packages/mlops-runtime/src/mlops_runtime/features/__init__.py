"""Feature groups, their lock file, tables, point-in-time plans, and training sets that can be proved."""
