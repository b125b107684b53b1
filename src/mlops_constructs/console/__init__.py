"""The web console as a construct: pages, API and sign-in for the people of an account."""

from mlops_constructs.console.console import Console

__all__ = ["Console"]
