"""The feature store."""

from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Match, Template

from mlops_constructs import BusinessUnit, Entity, Feature, FeatureGroup, FeatureStore, Profile, ValidationError
from mlops_runtime.features.lock import write_lock


def _group(name: str = "stock", *features: str) -> FeatureGroup:
    return FeatureGroup(
        name=name,
        entities=(Entity("store_id", "string", "store"),),
        features=tuple(Feature(f, "double", f, nullable=True) for f in features or ("on_hand",)),
        owner="demand",
        description=name,
    )


def _store(
    lock_file: Path, *groups: FeatureGroup, profile: Profile = Profile.PRODUCTION
) -> tuple[cdk.Stack, FeatureStore]:
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand-eu", profile=profile)
    return stack, FeatureStore(stack, "Features", business_unit=unit, groups=groups, lock_file=lock_file)


@pytest.fixture
def lock_file(tmp_path: Path) -> Path:
    """A lock file that covers two groups."""
    path = tmp_path / "features.lock.json"
    write_lock([_group("stock"), _group("sales")], path)
    return path


def test_one_table_a_group_in_the_units_database(lock_file: Path) -> None:
    """Names follow unit, group and version; hyphens are none of Glue's."""
    stack, store = _store(lock_file, _group("stock"), _group("sales"))

    assert store.database_name == "demand_eu_features"
    template = Template.from_stack(stack)
    template.has_resource_properties("AWS::Glue::Database", {"DatabaseInput": {"Name": "demand_eu_features"}})
    assert sorted(t["Properties"]["Name"] for t in template.find_resources("AWS::Glue::Table").values()) == [
        "sales_v1",
        "stock_v1",
    ]
    assert store.table_name(_group("stock")) == "stock_v1"


def test_production_keeps_tables_and_maintains_them(lock_file: Path) -> None:
    """Compaction and orphan removal run, each confined to its table; snapshots are never expired."""
    stack, _ = _store(lock_file, _group("stock"))

    template = Template.from_stack(stack)
    template.has_resource("AWS::Glue::Table", {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"})
    template.has_resource("AWS::Glue::Database", {"DeletionPolicy": "Retain"})
    optimizers = template.find_resources("AWS::Glue::TableOptimizer")
    assert sorted(o["Properties"]["Type"] for o in optimizers.values()) == ["compaction", "orphan_file_deletion"]
    orphans = next(o for o in optimizers.values() if o["Properties"]["Type"] == "orphan_file_deletion")["Properties"]
    iceberg = orphans["TableOptimizerConfiguration"]["OrphanFileDeletionConfiguration"]["IcebergConfiguration"]
    assert iceberg["Location"]["Fn::Join"][1][-1] == "/demand_eu_features/stock_v1"


def test_development_deletes_tables_and_has_no_optimizers(lock_file: Path) -> None:
    """Small tables need none."""
    stack, _ = _store(lock_file, _group("stock"), profile=Profile.DEVELOPMENT)

    template = Template.from_stack(stack)
    template.has_resource("AWS::Glue::Table", {"DeletionPolicy": "Delete"})
    template.resource_count_is("AWS::Glue::TableOptimizer", 0)


def _actions(statements: list[iam.PolicyStatement]) -> set[str]:
    return {action for statement in statements for action in statement.actions}


def test_rights_grow_from_reading_to_building(lock_file: Path) -> None:
    """Readers write nothing, writers delete nothing, builders write only metadata of tables."""
    stack, store = _store(lock_file, _group("stock"))

    assert not [
        a
        for a in _actions(store.read_statements())
        if a.split(":")[1].startswith(("Put", "Update", "Delete", "Create"))
    ]
    assert _actions(store.write_statements()) - _actions(store.read_statements()) == {
        "glue:UpdateTable",
        "s3:PutObject",
        "kms:GenerateDataKey",
    }
    assert not [a for a in _actions(store.build_statements()) if "Delete" in a]
    put = next(s for s in store.build_statements() if s.actions == ["s3:PutObject"])
    assert [r["Fn::Join"][1][-1] for r in stack.resolve(put.resources)] == [
        "/demand_eu_features/*/metadata/*",
        "/lineage/*",
        "/manifests/*",
        "/entities/*",
        "/sets/*",
    ]


def test_catalog_rights_name_the_tables(lock_file: Path) -> None:
    """Catalog, database and each table, no pattern."""
    stack, store = _store(lock_file, _group("stock"))

    arns = [a["Fn::Join"][1][-1] for a in stack.resolve(store.read_statements()[0].resources)]

    assert arns == [":catalog", ":database/demand_eu_features", ":table/demand_eu_features/stock_v1"]


@pytest.mark.parametrize("method", ["grant_read", "grant_write", "grant_build_training_sets"])
@pytest.mark.parametrize("kind", ["role", "user"])
def test_grants_reach_callers(lock_file: Path, method: str, kind: str) -> None:
    """The grant is whole: catalog, objects and key."""
    stack, store = _store(lock_file, _group("stock"))
    grantees: dict[str, iam.IGrantable] = {
        "role": iam.Role(stack, "Caller", assumed_by=iam.AccountRootPrincipal()),
        "user": iam.User(stack, "Caller2"),
    }

    grant: iam.Grant = getattr(store, method)(grantees[kind])

    assert grant.success
    Template.from_stack(stack).has_resource_properties(
        "AWS::IAM::Policy",
        {
            "PolicyDocument": {
                "Statement": Match.array_with(
                    [
                        Match.object_like({"Action": Match.array_with(["glue:GetTable"])}),
                        Match.object_like({"Condition": {"StringEquals": {"kms:ViaService": Match.any_value()}}}),
                    ]
                )
            }
        },
    )


def test_fails_without_a_lock_file(tmp_path: Path) -> None:
    """The message names the command that makes it."""
    with pytest.raises(
        ValidationError, match=r"InvalidFeatureStore: no lock file at .*python -m mlops_runtime.features.lock"
    ):
        _store(tmp_path / "features.lock.json", _group("stock"))


def test_fails_when_a_column_is_not_locked(lock_file: Path) -> None:
    """An id is given in git, never at deployment."""
    with pytest.raises(ValidationError, match="stock_v1: sold not yet in the lock file"):
        _store(lock_file, _group("stock", "on_hand", "sold"))


def test_fails_on_two_groups_of_one_table(lock_file: Path) -> None:
    """A table has one declaration."""
    with pytest.raises(ValidationError, match="table 'stock_v1' is declared 2 times; raise one version"):
        _store(lock_file, _group("stock"), _group("stock"))


def test_fails_without_groups(lock_file: Path) -> None:
    """An empty store is a mistake."""
    with pytest.raises(ValidationError, match="groups must have at least one feature group, got none"):
        _store(lock_file)


def test_fails_on_a_group_of_another_store(lock_file: Path) -> None:
    """The message lists those that there are."""
    _, store = _store(lock_file, _group("stock"))

    with pytest.raises(ValidationError, match="UnknownFeatureGroup: group must be one of 'stock_v1', got 'sales_v1'"):
        store.table_name(_group("sales"))


def test_columns_added_at_the_end_keep_the_table(lock_file: Path) -> None:
    """A nullable column is an update in place: same logical id, same name, ids go on."""
    before, _ = _store(lock_file, _group("stock"))
    write_lock([_group("stock", "on_hand", "sold")], lock_file)
    after, _ = _store(lock_file, _group("stock", "on_hand", "sold"))

    def table(stack: cdk.Stack) -> tuple[str, dict[str, Any]]:
        name, resource = next(iter(Template.from_stack(stack).find_resources("AWS::Glue::Table").items()))
        return name, resource["Properties"]

    (old_id, old), (new_id, new) = table(before), table(after)
    assert (old_id, old["Name"]) == (new_id, new["Name"])
    fields = new["OpenTableFormatInput"]["IcebergInput"]["IcebergTableInput"]["Schema"]["Fields"]
    assert fields[:-1] == old["OpenTableFormatInput"]["IcebergInput"]["IcebergTableInput"]["Schema"]["Fields"]
    assert (fields[-1]["Id"], fields[-1]["Name"]) == (6, "sold")
