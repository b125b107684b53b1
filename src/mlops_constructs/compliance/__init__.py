"""Acknowledgements of exact findings with a reason, and a cdk-nag pack with this library's own rules.

To run all checks over an app, see ``mlops_constructs.compliance.harness``.
"""

from typing import Any

from mlops_constructs.compliance.acknowledgement import (
    RULE_FAMILIES,
    acknowledge,
    acknowledge_all,
    acknowledge_family,
    wildcard_findings,
)

__all__ = ["RULE_FAMILIES", "MlopsChecks", "acknowledge", "acknowledge_all", "acknowledge_family", "wildcard_findings"]


def __getattr__(name: str) -> Any:
    """Import ``MlopsChecks`` on first use: cdk-nag loads a Node.js module of its own, which other stacks do not need."""
    if name != "MlopsChecks":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mlops_constructs.compliance.mlops_checks import MlopsChecks  # noqa: PLC0415

    return MlopsChecks
