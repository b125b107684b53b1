"""Parameters that the command reads: their names and values, the freeze calendar, pauses, and a platform's fixed names."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlops_runtime.contracts import ContractError, from_dict
from mlops_runtime.contracts.unit_entries import (
    PLATFORM_PARAMETERS,
    EndpointEntry,
    Entry,
    FeatureStoreEntry,
    FreezeSpec,
    PipelineEntry,
    PlatformParameter,
    UnitEntry,
    entry_name,
    entry_value,
    platform_parameter,
    read_entry,
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
        owner="demand",
        cost_center="demand",
        freeze=FreezeSpec(),
    ),
    "/mlops/demand/endpoint/demand-forecast": EndpointEntry(
        endpoint="demand-forecast",
        unit="demand",
        group="g",
        rollout_table="t",
        deploy_machine="m",
        target="SageMaker",
        is_monitored=True,
    ),
    "/mlops/demand/pipeline/demand-forecast": PipelineEntry(
        pipeline="demand-forecast", unit="demand", group="g", retraining_table="t", retrain_machine="m", queue_url="q"
    ),
    "/mlops/demand/features": FeatureStoreEntry(
        unit="demand", database="demand_features", data_bucket="d", training_sets_bucket="t", manifests_bucket="m"
    ),
}


EXAMPLES = {
    "vpc_id": "vpc-0123456789abcdef0",
    "subnet_ids": "subnet-0123456789abcdef0",
    "availability_zones": "eu-west-1a",
    "key_arn": "arn:aws:kms:eu-west-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef",
    "approver_role_arn": "arn:aws-cn:iam::111122223333:role/people/Approver",
    "cluster_name": "platform",
    "cluster_security_group_id": "sg-0123456789abcdef0",
}


@pytest.mark.parametrize(("name", "entry"), ENTRIES.items())
def test_an_entry_reads_back_under_its_name(name: str, entry: Entry) -> None:
    """See the contract's documentation."""
    assert entry_name(entry) == name
    assert read_entry(name, entry_value(entry)) == entry


@pytest.mark.parametrize("name", ["/mlops", "/mlops/demand", "/mlops/demand/other/x", "/other/demand/unit", "unit"])
def test_other_peoples_parameters_are_left_alone(name: str) -> None:
    """Foreign parameters may exist below the root."""
    assert read_entry(name, "{}") is None


def test_fails_on_a_value_of_another_kind() -> None:
    """The name determines the kind."""
    with pytest.raises(ContractError, match=r"not a valid UnitEntry: \$\.unit is missing"):
        read_entry("/mlops/demand/unit", "{}")


def test_a_freeze_window_keeps_its_offset(example: Callable[..., Any]) -> None:
    """Midnight in Berlin is not midnight in UTC."""
    freeze = from_dict(FreezeSpec, example("FreezeSpec", **{"windows.0.start": "2017-11-20T00:00:00+01:00"}))

    assert freeze.windows[0].start == datetime(2017, 11, 19, 23, tzinfo=UTC)
    assert freeze.windows[0].start.utcoffset() == timedelta(hours=1)


def test_an_entry_that_lacks_a_name_says_which(
    refusal: Callable[[type, object], str], example: Callable[..., Any]
) -> None:
    """The command prints it."""
    assert "$.queue_url is missing" in refusal(PipelineEntry, example("PipelineEntry", queue_url=...))


def test_version_one_has_these_names() -> None:
    """Other organisations use them: a change is a new version."""
    assert [platform_parameter("retail", p.field) for p in PLATFORM_PARAMETERS] == [
        f"/mlops-platform/retail/1/{field}" for field in EXAMPLES
    ]


@pytest.mark.parametrize("parameter", PLATFORM_PARAMETERS, ids=lambda parameter: parameter.field)
def test_each_form_admits_its_example_and_no_other(parameter: PlatformParameter) -> None:
    """A pattern must match the whole value."""
    pattern, field = parameter.pattern, parameter.field

    assert re.fullmatch(pattern, EXAMPLES[field])
    assert not any(re.fullmatch(pattern, f"{EXAMPLES[field]}{wrong}") for wrong in (" ", "\n", '"'))
    others = [value for other, value in EXAMPLES.items() if other != field]
    assert not [value for value in others if re.fullmatch(pattern, value)] or field == "cluster_name"
