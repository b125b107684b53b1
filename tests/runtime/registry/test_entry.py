"""The parameter of a package group."""

import pytest

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.registry.approval import ApprovalRule
from mlops_runtime.registry.entry import RegistryEntry, is_registry_parameter, registry_parameter


def test_an_entry_is_read_back() -> None:
    """As the construct writes it."""
    rule = ApprovalRule(approvers=("arn:aws:iam::123456789012:role/A",), timeout_seconds=3600)
    entry = RegistryEntry(group="demand-forecast", unit="demand", rule=rule)

    assert from_json(RegistryEntry, canonical_json(entry)) == entry
    assert is_registry_parameter(registry_parameter(unit="demand", group="demand-forecast"))


@pytest.mark.parametrize(
    "name", ["/mlops/demand/unit", "/mlops/demand/pipeline/registry", "/mlops//registry/x", "mlops/a/registry/b", ""]
)
def test_other_parameters_are_none_of_ours(name: str) -> None:
    """Units, endpoints, pipelines, and what is no entry."""
    assert not is_registry_parameter(name)
