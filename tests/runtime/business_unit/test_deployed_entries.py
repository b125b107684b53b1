"""Deployed resources found by name."""

from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.cli.deployed_unit import DeployedUnit

from mlops_local.cloud import Cloud
from mlops_runtime.business_unit.deployed_entries import Entries, NotDeployedError
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.unit_entries import FeatureStoreEntry, PipelineEntry
from mlops_runtime.registry.package_approval import ApprovalRule, RegistryEntry, registry_parameter


@pytest.fixture
def entries(cloud: Cloud) -> Entries:
    """Return the entries published on the shared cloud."""
    return Entries(ssm=cloud.client("ssm"))


def test_units_and_endpoints_are_found_by_name(entries: Entries, deployed: DeployedUnit) -> None:
    """An endpoint needs no unit next to it."""
    assert entries.unit(deployed.name) == deployed.unit_entry
    assert entries.endpoint(deployed.endpoint) == deployed.endpoint_entry
    assert entries.chain(deployed.name) == deployed.unit_entry
    assert entries.chain(deployed.endpoint) == deployed.endpoint_entry


def test_everything_of_a_unit_is_found(entries: Entries, deployed: DeployedUnit) -> None:
    """Only its own, also among many with similar names."""
    pipeline = PipelineEntry(
        pipeline=deployed.endpoint,
        unit=deployed.name,
        group=deployed.endpoint,
        retraining_table=f"{deployed.name}-retraining",
        retrain_machine=deployed.machine,
        queue_url="q",
    )
    deployed.publish(pipeline)
    more = [replace(deployed.endpoint_entry, endpoint=f"{deployed.name}-more-{number:02d}") for number in range(11)]
    for entry in more:
        deployed.publish(entry)
    deployed.publish(replace(deployed.endpoint_entry, unit=f"{deployed.name}x", endpoint=f"{deployed.name}x-forecast"))

    endpoints, pipelines = entries.of_unit(deployed.name)

    assert sorted(e.endpoint for e in endpoints) == [deployed.endpoint, *(e.endpoint for e in more)]
    assert pipelines == [pipeline]
    assert entries.whole_unit(deployed.name) == (deployed.unit_entry, endpoints, pipelines, [])
    assert entries.whole_unit(deployed.name) in entries.whole_units()
    with pytest.raises(NotDeployedError, match=f"business unit 'none' not found; deployed are: .*{deployed.name}"):
        entries.whole_unit("none")


def test_registries_without_an_endpoint_are_found(entries: Entries, deployed: DeployedUnit, cloud: Cloud) -> None:
    """Registries whose models an endpoint of the unit serves are excluded."""
    alone, served = (
        RegistryEntry(group=group, unit=deployed.name, rule=ApprovalRule())
        for group in (f"{deployed.name}-alone", deployed.endpoint)
    )
    for each in (alone, served):
        cloud.client("ssm").put_parameter(
            Name=registry_parameter(unit=deployed.name, group=each.group),
            Value=canonical_json(each).decode(),
            Type="String",
        )

    assert entries.whole_unit(deployed.name).registries == [alone]
    assert [each.registries for each in entries.whole_units() if each.unit == deployed.unit_entry] == [[alone]]


def test_the_feature_store_of_a_unit_is_found(entries: Entries, deployed: DeployedUnit) -> None:
    """Database and buckets; without one, the error lists the units that have one."""
    store = FeatureStoreEntry(
        unit=deployed.name,
        database=f"{deployed.name}_features",
        data_bucket="d",
        training_sets_bucket="t",
        manifests_bucket="m",
    )
    deployed.publish(store)

    assert entries.feature_store(deployed.name) == store
    with pytest.raises(
        NotDeployedError,
        match=f"business unit 'other' has not published a feature store; deployed are: .*{deployed.name}",
    ):
        entries.feature_store("other")


def test_a_unit_may_have_hyphens(entries: Entries, deployed: DeployedUnit) -> None:
    """Every possible end of its name is tried."""
    entry = replace(deployed.endpoint_entry, unit=f"{deployed.name}-a-b", endpoint=f"{deployed.name}-a-b-c")
    deployed.publish(entry)

    assert entries.endpoint(f"{deployed.name}-a-b-c") == entry


def test_fails_on_a_name_of_both(entries: Entries, deployed: DeployedUnit) -> None:
    """The name is ambiguous."""
    deployed.publish(replace(deployed.unit_entry, unit=deployed.endpoint))

    with pytest.raises(
        NotDeployedError, match=f"is both a business unit and an endpoint of '{deployed.name}'; rename one of them"
    ):
        entries.chain(deployed.endpoint)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "-a", "a-", "ä"])
def test_fails_on_what_is_no_name(name: str, entries: Entries) -> None:
    """No parameter outside of units is read."""
    for look in (entries.unit, entries.whole_unit, entries.endpoint, entries.chain):
        with pytest.raises(NotDeployedError, match="a name must consist of letters, digits and hyphens, got"):
            look(name)


def test_fails_on_a_parameter_of_another_version(entries: Entries, deployed: DeployedUnit, cloud: Cloud) -> None:
    """The stack is older or newer than the command."""
    cloud.client("ssm").put_parameter(Name=f"/mlops/{deployed.name}/unit", Value="{}", Type="String", Overwrite=True)

    with pytest.raises(NotDeployedError, match=r"cannot be read by this version of mlops: .*\$\.unit is missing"):
        entries.unit(deployed.name)
    deployed.publish(deployed.unit_entry)


def test_other_parameters_are_no_entries(entries: Entries, deployed: DeployedUnit, cloud: Cloud) -> None:
    """Foreign parameters may exist below the root."""
    cloud.client("ssm").put_parameter(Name=f"/mlops/{deployed.name}/notes", Value="{", Type="String")

    assert entries.of_unit(deployed.name)[0] == [deployed.endpoint_entry]


def _denied(name: str) -> ClientError:
    return ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, name)


class _Forbidden:
    """An SSM client with access to one unit's parameters and without listing."""

    def __init__(self, ssm: Any, unit: str) -> None:
        self._ssm, self._unit, self.exceptions = ssm, unit, ssm.exceptions

    def get_parameter(self, **arguments: Any) -> Any:
        """GetParameter."""
        if not arguments["Name"].startswith(f"/mlops/{self._unit}/"):
            raise _denied("GetParameter")
        return self._ssm.get_parameter(**arguments)

    def get_paginator(self, name: str) -> Any:
        """Fail like AWS."""
        raise _denied(name)


def test_who_may_read_one_unit_finds_it(cloud: Cloud, deployed: DeployedUnit) -> None:
    """A person on call need not see other units, which are denied, not missing."""
    entries = Entries(ssm=_Forbidden(cloud.client("ssm"), deployed.name))  # type: ignore[arg-type]  # a client in all but its class

    assert entries.unit(deployed.name) == deployed.unit_entry
    assert entries.endpoint(deployed.endpoint) == entries.chain(deployed.endpoint) == deployed.endpoint_entry
    assert entries.chain(deployed.name) == deployed.unit_entry
    with pytest.raises(NotDeployedError, match=r"endpoint '.*-x' not found; this caller has no permission to list"):
        entries.endpoint(f"{deployed.name}-x")
    with pytest.raises(ClientError, match="AccessDenied"):
        entries.unit("nobody")


def test_a_pipeline_is_found_by_its_name_or_alone(entries: Entries, deployed: DeployedUnit) -> None:
    """Without a name only if there is one; otherwise the error lists them."""
    entry = PipelineEntry(
        pipeline=f"{deployed.name}-forecast",
        unit=deployed.name,
        group=f"{deployed.name}-forecast",
        retraining_table="t",
        retrain_machine="arn:m",
        queue_url="https://sqs/q",
        requirements_sha256="1" * 64,
    )
    deployed.publish(entry)
    assert entries.pipeline(entry.pipeline) == entry
    deployed.publish(replace(entry, pipeline=f"{deployed.name}-returns"))
    with pytest.raises(NotDeployedError, match=f"name the pipeline: deployed are: .*{deployed.name}-returns"):
        entries.pipeline(None)
    with pytest.raises(NotDeployedError, match=r"pipeline 'other-one' not found; deployed are: "):
        entries.pipeline("other-one")
