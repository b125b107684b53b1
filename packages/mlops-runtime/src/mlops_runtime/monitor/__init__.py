"""Monitors over SageMaker's capture files: mergeable counts, drift decisions, quality against labels, reports."""
