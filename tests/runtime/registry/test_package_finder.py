"""Packages, rules and approvers found by a person's input, at moto's SSM, SageMaker and STS."""

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.contracts import canonical_json
from mlops_runtime.registry.package_approval import ApprovalRule, RegistryEntry, registry_parameter
from mlops_runtime.registry.package_finder import PackageFinder, PackageNotFoundError

ROLE = "arn:aws:iam::123456789012:role/Approver"
RULE = ApprovalRule(approvers=(ROLE,), timeout_seconds=86400, artifacts=("s3://artifacts/",))


@pytest.fixture
def finder() -> Iterator[PackageFinder]:
    """Return the finder of an account with one unit, whose name has a hyphen."""
    with mock_aws():
        made = PackageFinder(client=lambda service: boto3.client(service, "us-east-1"))
        _publish(made, unit="fresh-food", group="fresh-food-demand")
        yield made


def _publish(finder: PackageFinder, *, unit: str, group: str) -> None:
    entry = RegistryEntry(group=group, unit=unit, rule=RULE)
    finder.client("ssm").put_parameter(
        Name=registry_parameter(unit=unit, group=group), Value=canonical_json(entry).decode(), Type="String"
    )
    finder.client("sagemaker").create_model_package_group(ModelPackageGroupName=group)


def _register(finder: PackageFinder, group: str) -> str:
    answer = finder.client("sagemaker").create_model_package(ModelPackageGroupName=group)
    return str(answer["ModelPackageArn"])


def test_registries_are_found_by_unit_and_group(finder: PackageFinder) -> None:
    """Without a name all are returned."""
    _publish(finder, unit="pricing", group="pricing-price")

    assert [each.group for each in finder.registries("fresh-food")] == ["fresh-food-demand"]
    assert [each.unit for each in finder.registries("pricing-price")] == ["pricing"]
    assert len(finder.registries(None)) == 2
    with pytest.raises(PackageNotFoundError, match=r"'food'; known are: fresh-food \(fresh-food-demand\), pricing"):
        finder.registries("food")


def test_the_rule_of_a_group_is_its_units(finder: PackageFinder) -> None:
    """By the group's name, in which any hyphen may end the unit's."""
    assert finder.rule("fresh-food-demand") == RULE
    assert finder.rule("fresh-milk") is None


def test_a_package_is_named_in_four_ways(finder: PackageFinder) -> None:
    """Number, ARN, newest of a group, newest of all."""
    first, second = (_register(finder, "fresh-food-demand") for _ in range(2))

    names = ["fresh-food-demand/1", first, "fresh-food-demand/latest", "latest"]
    found = [finder.described(name) for name in names]

    assert [description["ModelPackageArn"] for description, _ in found] == [first, first, second, second]
    assert {rule for _, rule in found} == {RULE}


def test_fails_with_what_there_is(finder: PackageFinder) -> None:
    """Covers another format, another number, a group without packages, and several groups."""
    for name, message in (
        ("demand", r"a package is written <group>/<number>, such as demand-forecast/7, or latest, got 'demand'"),
        ("fresh-food-demand/latest", "no package is registered in fresh-food-demand yet"),
        ("fresh-food-demand/9", r"package 'fresh-food-demand/9' not found; list packages with: mlops models list"),
    ):
        with pytest.raises(PackageNotFoundError, match=message):
            finder.described(name)
    _publish(finder, unit="pricing", group="pricing-price")
    with pytest.raises(
        PackageNotFoundError, match="name the group of the newest package: fresh-food-demand/latest, pr"
    ):
        finder.described("latest")


def test_fails_without_any_registry() -> None:
    """The error has the stack that publishes one."""
    with (
        mock_aws(),
        pytest.raises(PackageNotFoundError, match="no stack has published a model registry; deploy a stack"),
    ):
        PackageFinder(client=lambda service: boto3.client(service, "us-east-1")).registries(None)


def test_fails_for_an_entry_of_another_version(finder: PackageFinder) -> None:
    """By the parameter's name."""
    name = registry_parameter(unit="fresh-food", group="fresh-food-demand")
    finder.client("ssm").put_parameter(Name=name, Value="{}", Type="String", Overwrite=True)

    with pytest.raises(PackageNotFoundError, match=f"the parameter {name} cannot be read by this version of mlops"):
        finder.rule("fresh-food-demand")


def test_who_decides_takes_the_rules_role(finder: PackageFinder) -> None:
    """Unless the caller has it, another role is named, or no rule is known."""
    person, session = "arn:aws:iam::123456789012:user/ann", "arn:aws:sts::123456789012:assumed-role/Approver/ann"

    assert "assumed-role/Approver/" in finder.approver(person, RULE, None).identity
    assert finder.approver(session, RULE, None).identity == session
    assert finder.approver(person, None, None).identity == person
    other = finder.approver(person, RULE, "arn:aws:iam::123456789012:role/Deputy").identity
    assert "assumed-role/Deputy/" in other
