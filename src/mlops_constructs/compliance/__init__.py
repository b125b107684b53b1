"""Exact, reasoned acknowledgements of findings. The harness stands in ``mlops_constructs.compliance.harness``."""

from mlops_constructs.compliance.acknowledgement import (
    RULE_FAMILIES,
    acknowledge,
    acknowledge_all,
    acknowledge_family,
)

__all__ = ["RULE_FAMILIES", "acknowledge", "acknowledge_all", "acknowledge_family"]
