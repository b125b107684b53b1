"""Use with Terraform: units as modules, and the parameters that an estate and its units exchange."""
