"""Names and values of the parameters that the command reads."""

import pytest

from mlops_runtime.business_unit.entries import Entry, entry_name, entry_value, read_entry
from mlops_runtime.contracts import ContractError
from mlops_runtime.contracts.automation import (
    EndpointEntry,
    FeatureStoreEntry,
    FreezeSpec,
    PipelineEntry,
    UnitEntry,
)

ENTRIES: dict[str, Entry] = {
    "/mlops/demand/unit": UnitEntry(
        unit="demand",
        automation_table="t",
        audit_bucket="a",
        artifacts_bucket="b",
        bus="c",
        heads_bucket="h",
        signing_key="s",
        pause_key="p",
        freeze=FreezeSpec(),
    ),
    "/mlops/demand/endpoint/demand-forecast": EndpointEntry(
        endpoint="demand-forecast", unit="demand", group="g", rollout_table="t", deploy_machine="m", target="SageMaker"
    ),
    "/mlops/demand/pipeline/demand-forecast": PipelineEntry(
        pipeline="demand-forecast", unit="demand", group="g", retraining_table="t", retrain_machine="m", queue_url="q"
    ),
    "/mlops/demand/features": FeatureStoreEntry(
        unit="demand", database="demand_features", data_bucket="d", training_sets_bucket="t", manifests_bucket="m"
    ),
}


@pytest.mark.parametrize(("name", "entry"), ENTRIES.items())
def test_an_entry_reads_back_under_its_name(name: str, entry: Entry) -> None:
    """As the contract's page says."""
    assert entry_name(entry) == name
    assert read_entry(name, entry_value(entry)) == entry


@pytest.mark.parametrize("name", ["/mlops", "/mlops/demand", "/mlops/demand/other/x", "/other/demand/unit", "unit"])
def test_other_peoples_parameters_are_left_alone(name: str) -> None:
    """Somebody else may use the same root."""
    assert read_entry(name, "{}") is None


def test_fails_on_a_value_of_another_kind() -> None:
    """The name says what it must be."""
    with pytest.raises(ContractError, match=r"not a valid UnitEntry: \$\.unit is missing"):
        read_entry("/mlops/demand/unit", "{}")
