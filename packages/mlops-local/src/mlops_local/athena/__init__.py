"""Athena of the embedded cloud: queries and UNLOAD in Athena SQL over tables of the Glue catalog."""
