"""Athena of the embedded cloud: queries in Athena's own SQL over the tables of the catalog, and UNLOAD."""
