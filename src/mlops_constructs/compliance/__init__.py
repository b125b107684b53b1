"""Exact, reasoned acknowledgements of findings, and a cdk-nag pack of this library's own rules.

The harness is ``mlops_constructs.compliance.harness``.
"""

from typing import Any

from mlops_constructs.compliance.acknowledgement import (
    RULE_FAMILIES,
    acknowledge,
    acknowledge_all,
    acknowledge_family,
)

__all__ = ["RULE_FAMILIES", "MlopsChecks", "acknowledge", "acknowledge_all", "acknowledge_family"]


def __getattr__(name: str) -> Any:
    """Load the pack when it is used: cdk-nag starts its own module of node, for which stacks without it need not wait."""
    if name != "MlopsChecks":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mlops_constructs.compliance.mlops_checks import MlopsChecks  # noqa: PLC0415

    return MlopsChecks
