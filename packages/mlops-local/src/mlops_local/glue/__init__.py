"""Glue of the embedded cloud: roles, jobs, rulesets and Iceberg tables."""
