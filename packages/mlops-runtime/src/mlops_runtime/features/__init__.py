"""Feature groups, their lock file, tables, point-in-time joins, and reproducible training sets."""
