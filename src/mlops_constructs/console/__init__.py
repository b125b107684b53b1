"""The web console of an account: pages, API and sign-in."""

from mlops_constructs.console.console import Console

__all__ = ["Console"]
