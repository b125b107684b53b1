"""Terraform beside CDK: units as modules, and the parameters by which an estate and its units know each other."""
