"""The feature store construct."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Annotations, Match, Template

from mlops_constructs import (
    BusinessUnit,
    Entity,
    Feature,
    FeatureAccess,
    FeatureGroup,
    FeatureStore,
    Profile,
    ValidationError,
)
from mlops_runtime.changes import Action, compare, read_schemas
from mlops_runtime.changes.template import Template as ChangedTemplate
from mlops_runtime.features.lock_file import write_lock

ROOT = Path(__file__).resolve().parents[3]
SCHEMAS = read_schemas(json.loads((ROOT / "packages/mlops-cli/src/mlops_cli" / "replacement.json").read_text()))


def _group(name: str = "stock", *features: str) -> FeatureGroup:
    return FeatureGroup(
        name=name,
        entities=(Entity("store_id", "string", "store"),),
        features=tuple(Feature(f, "double", f, nullable=True) for f in features or ("on_hand",)),
        owner="demand",
        description=name,
    )


def _store(
    lock_file: Path, *groups: FeatureGroup, profile: Profile = Profile.PRODUCTION, **options: Any
) -> tuple[cdk.Stack, FeatureStore]:
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand-eu", profile=profile)
    return stack, FeatureStore(stack, "Features", business_unit=unit, groups=groups, lock_file=lock_file, **options)


@pytest.fixture
def lock_file(tmp_path: Path) -> Path:
    """A lock file that covers two groups."""
    path = tmp_path / "features.lock.json"
    write_lock([_group("stock"), _group("sales")], path)
    return path


def test_one_table_a_group_in_the_units_database(lock_file: Path) -> None:
    """Names consist of unit, group and version, without hyphens, which Glue rejects."""
    stack, store = _store(lock_file, _group("stock"), _group("sales"))

    assert store.database_name == "demand_eu_features"
    template = Template.from_stack(stack)
    template.has_resource_properties("AWS::Glue::Database", {"DatabaseInput": {"Name": "demand_eu_features"}})
    assert sorted(t["Properties"]["Name"] for t in template.find_resources("AWS::Glue::Table").values()) == [
        "sales_v1",
        "stock_v1",
    ]
    assert store.table_name(_group("stock")) == "stock_v1"


def test_the_command_finds_database_and_buckets(lock_file: Path) -> None:
    """Publishes one parameter of the unit."""
    stack, store = _store(lock_file, _group("stock"), _group("sales"))
    parameters = Template.from_stack(stack).find_resources(
        "AWS::SSM::Parameter", {"Properties": {"Name": "/mlops/demand-eu/features"}}
    )

    value = json.dumps([parameter["Properties"]["Value"] for parameter in parameters.values()])

    assert '\\"database\\":\\"demand_eu_features\\"' in value
    for bucket in (store.data_bucket, store.training_sets_bucket, store.manifests_bucket):
        assert json.dumps(stack.resolve(bucket.bucket_name))[1:-1] in value


def test_production_keeps_tables_and_maintains_them(lock_file: Path) -> None:
    """Compaction and orphan removal run per table; snapshots never expire."""
    stack, _ = _store(lock_file, _group("stock"))

    template = Template.from_stack(stack)
    template.has_resource(
        "AWS::Glue::Table", {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}
    )
    template.has_resource("AWS::Glue::Database", {"DeletionPolicy": "RetainExceptOnCreate"})
    optimizers = template.find_resources("AWS::Glue::TableOptimizer")
    by_type = {o["Properties"]["Type"]: o["Properties"]["TableOptimizerConfiguration"] for o in optimizers.values()}
    assert {kind: each["Enabled"] for kind, each in by_type.items()} == {
        "compaction": True,
        "orphan_file_deletion": True,
        "retention": False,
    }
    assert by_type["compaction"]["CompactionConfiguration"]["IcebergConfiguration"] == {
        "MinInputFiles": 16,
        "Strategy": "sort",
    }
    orphans = next(o for o in optimizers.values() if o["Properties"]["Type"] == "orphan_file_deletion")["Properties"]
    iceberg = orphans["TableOptimizerConfiguration"]["OrphanFileDeletionConfiguration"]["IcebergConfiguration"]
    assert iceberg["Location"]["Fn::Join"][1][-1] == "/demand_eu_features/stock_v1"


def test_development_deletes_tables_and_disables_retention_alone(lock_file: Path) -> None:
    """No optimizer of the catalog can expire snapshots; the role has no permissions."""
    stack, _ = _store(lock_file, _group("stock"), profile=Profile.DEVELOPMENT)

    template = Template.from_stack(stack)
    template.has_resource("AWS::Glue::Table", {"DeletionPolicy": "Delete"})
    (retention,) = template.find_resources("AWS::Glue::TableOptimizer").values()
    configuration = retention["Properties"]["TableOptimizerConfiguration"]
    assert (retention["Properties"]["Type"], configuration["Enabled"]) == ("retention", False)
    role = configuration["RoleArn"]["Fn::GetAtt"][0]
    assert "ManagedPolicyArns" not in template.find_resources("AWS::IAM::Role")[role]["Properties"]
    for kind in ("AWS::IAM::ManagedPolicy", "AWS::IAM::Policy"):
        held = [each["Properties"].get("Roles", ()) for each in template.find_resources(kind).values()]
        assert not [roles for roles in held if {"Ref": role} in roles]


def test_manifests_cannot_be_deleted_for_a_year_in_production(lock_file: Path) -> None:
    """Rows and sets can be deleted, as an erasure must remove them."""
    stack, store = _store(lock_file, _group("stock"))

    buckets = Template.from_stack(stack).find_resources("AWS::S3::Bucket")
    locks = {
        name.removeprefix("Features"): bucket["Properties"]["ObjectLockConfiguration"].get("Rule")
        for name, bucket in buckets.items()
        if name.startswith("Features")
    }
    rule = next(rule for name, rule in locks.items() if name.startswith("Manifests"))
    assert rule == {"DefaultRetention": {"Days": 365, "Mode": "GOVERNANCE"}}
    assert [rule for name, rule in locks.items() if not name.startswith("Manifests")] == [None, None]
    assert store.manifests_bucket.node.path == "S/Features/Manifests"


def test_nothing_is_locked_in_development(lock_file: Path) -> None:
    """The stack can be destroyed."""
    stack, _ = _store(lock_file, _group("stock"), profile=Profile.DEVELOPMENT)

    buckets = Template.from_stack(stack).find_resources("AWS::S3::Bucket").values()
    assert len(buckets) == 7
    assert not [bucket for bucket in buckets if "ObjectLockConfiguration" in bucket["Properties"]]


@pytest.mark.parametrize("profile", list(Profile))
def test_snapshots_expire_only_where_somebody_asked(lock_file: Path, profile: Profile) -> None:
    """In either profile, with explicit Glue defaults and a warning that callers must acknowledge."""
    stack, _ = _store(lock_file, _group("stock"), profile=profile, snapshot_retention=cdk.Duration.days(120))

    template = Template.from_stack(stack)
    optimizers = template.find_resources("AWS::Glue::TableOptimizer").values()
    (retention,) = (o["Properties"] for o in optimizers if o["Properties"]["Type"] == "retention")
    assert retention["TableOptimizerConfiguration"]["RetentionConfiguration"]["IcebergConfiguration"] == {
        "SnapshotRetentionPeriodInDays": 120,
        "NumberOfSnapshotsToRetain": 1,
        "CleanExpiredFiles": True,
    }
    warnings = Annotations.from_stack(stack).find_warning("/S/Features", Match.any_value())
    assert [w for w in warnings if "mlops-constructs:FeatureStore.snapshotRetention" in str(w.entry.data)]
    assert len(optimizers) == (3 if profile is Profile.PRODUCTION else 1)


@pytest.mark.parametrize(
    ("retention", "got"), [(cdk.Duration.days(89), "89 days"), (cdk.Duration.hours(2401), "100 days 1 hour")]
)
def test_fails_on_a_retention_that_would_forget_keys(lock_file: Path, retention: cdk.Duration, got: str) -> None:
    """Idempotency keys must be kept for 90 days."""
    with pytest.raises(
        ValidationError, match=f"snapshot_retention must be whole days, at least 91, got {got}; snapshots contain the"
    ):
        _store(lock_file, _group("stock"), snapshot_retention=retention)


_OWNED = {"cost_center": "42"}


def _changed(
    folder: Path, profile: Profile, unit: dict[str, str], group: dict[str, Any], store: dict[str, Any]
) -> ChangedTemplate:
    """Return the template with changed arguments of unit, group and store."""
    path = folder / "features.lock.json"
    declared = replace(
        _group("stock", *group.get("features", ("on_hand",))), **{k: v for k, v in group.items() if k != "features"}
    )
    write_lock([declared], path)
    stack = cdk.Stack(cdk.App(), "S")
    made = BusinessUnit(stack, "Unit", name="demand", profile=profile, **{**_OWNED, **unit})
    FeatureStore(stack, "Features", business_unit=made, groups=[declared], lock_file=path, **store)
    return ChangedTemplate(document=Template.from_stack(stack).to_json())


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[Profile, ChangedTemplate]:
    """The template before each change, by profile."""
    return {profile: _changed(tmp_path_factory.mktemp("before"), profile, {}, {}, {}) for profile in Profile}


@pytest.mark.parametrize(
    ("unit", "changes", "options"),
    [
        ({"owner": "somebody"}, {}, {}),
        ({"cost_center": "43"}, {}, {}),
        ({}, {"owner": "another team"}, {}),
        ({}, {"description": "what is on hand"}, {}),
        ({}, {"event_time": "when it was counted"}, {}),
        ({}, {"ttl": timedelta(days=14)}, {}),
        ({}, {"freshness": timedelta(days=1)}, {}),
        ({}, {"features": ("on_hand", "sold")}, {}),
        ({}, {}, {"snapshot_retention": cdk.Duration.days(91)}),
        ({}, {}, {"access": FeatureAccess.LAKE_FORMATION}),
    ],
    ids=[
        "owner",
        "cost center",
        "team",
        "description",
        "event time",
        "ttl",
        "freshness",
        "features",
        "retention",
        "access",
    ],
)
@pytest.mark.parametrize("profile", list(Profile))
def test_no_table_is_replaced_by_what_people_change(
    tmp_path: Path,
    before: dict[Profile, ChangedTemplate],
    profile: Profile,
    unit: dict[str, str],
    changes: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """Tags, descriptions, owners, roles and new features update in place, by CloudFormation's registry schemas."""
    after = _changed(tmp_path, profile, unit, changes, options)

    found = compare("S", before[profile], after, SCHEMAS)

    assert found.changes
    replaced = [c for c in found.changes if c.action in (Action.REPLACED, Action.MAY_BE_REPLACED, Action.DELETED)]
    assert [c.logical_id for c in replaced] == []


def test_a_changed_name_is_seen_as_a_replacement(tmp_path: Path) -> None:
    """Counterexample of the test above: a table's name is create-only."""
    found = [
        ChangedTemplate(
            document={
                "Resources": {"T": {"Type": "AWS::Glue::Table", "Properties": {"Name": name, "DatabaseName": "d"}}}
            }
        )
        for name in ("stock_v1", "stock_v2")
    ]

    assert [c.action for c in compare("S", *found, SCHEMAS).changes] == [Action.REPLACED]


def _actions(statements: list[iam.PolicyStatement]) -> set[str]:
    return {action for statement in statements for action in statement.actions}


def test_rights_grow_from_reading_to_building(lock_file: Path) -> None:
    """Readers write nothing, writers delete nothing, builders write only table metadata."""
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
    puts = [s for s in store.build_statements() if s.actions == ["s3:PutObject"]]
    written = [[r["Fn::Join"][1][-1] for r in stack.resolve(put.resources)] for put in puts]
    assert written == [
        ["/demand_eu_features/*/metadata/*.metadata.json"],
        ["/lineage/*", "/manifests/*", "/entities/*", "/sets/*"],
    ]
    assert [put.conditions for put in puts] == [{}, {"Null": {"s3:if-none-match": "false"}}]


def test_catalog_rights_name_the_tables(lock_file: Path) -> None:
    """Names catalog, database and each table without wildcards."""
    stack, store = _store(lock_file, _group("stock"))

    arns = [a["Fn::Join"][1][-1] for a in stack.resolve(store.read_statements()[0].resources)]

    assert arns == [":catalog", ":database/demand_eu_features", ":table/demand_eu_features/stock_v1"]


@pytest.mark.parametrize("method", ["grant_read", "grant_write", "grant_build_training_sets"])
@pytest.mark.parametrize("kind", ["role", "user"])
def test_grants_reach_callers(lock_file: Path, method: str, kind: str) -> None:
    """Grants include catalog, objects and key."""
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
    """The message names the command that creates it."""
    with pytest.raises(ValidationError, match=r"InvalidFeatureStore: no lock file at .*mlops features lock"):
        _store(tmp_path / "features.lock.json", _group("stock"))


def test_fails_when_a_column_is_not_locked(lock_file: Path) -> None:
    """Ids are assigned in git, never at deployment."""
    with pytest.raises(ValidationError, match=r"stock_v1: .* lock file.*sold"):
        _store(lock_file, _group("stock", "on_hand", "sold"))


def test_fails_on_two_groups_of_one_table(lock_file: Path) -> None:
    """A table has one declaration."""
    with pytest.raises(ValidationError, match="table 'stock_v1' is declared 2 times; raise one version"):
        _store(lock_file, _group("stock"), _group("stock"))


def test_fails_without_groups(lock_file: Path) -> None:
    """Rejects an empty store."""
    with pytest.raises(ValidationError, match="groups must have at least one feature group, got none"):
        _store(lock_file)


def test_fails_on_arguments_of_other_types(lock_file: Path) -> None:
    """Reports all at once with the allowed types; a number is not a path, a timedelta not a CDK duration."""
    stack = cdk.Stack(cdk.App(), "S")
    unit = BusinessUnit(stack, "Unit", name="demand", profile=Profile.DEVELOPMENT)
    wrong: dict[str, Any] = {
        "groups": _group("stock"),
        "lock_file": 5,
        "access": "iam",
        "snapshot_retention": timedelta(days=90),
        "freshness_interval": 1,
        "ingest": True,
        "online": "yes",
    }

    with pytest.raises(ValidationError) as error:
        FeatureStore(stack, "Features", business_unit=unit, **wrong)

    groups, *others = error.value.problems
    assert groups.startswith("groups must be a list of FeatureGroup, got FeatureGroup(name='stock'")
    assert groups.endswith("; write it in brackets for a list of one")
    assert others == [
        "lock_file must be a path such as 'features.lock.json', got 5",
        "access must be FeatureAccess.IAM or FeatureAccess.LAKE_FORMATION, got 'iam'",
        "snapshot_retention must be a cdk.Duration such as Duration.days(90), or left out, got datetime.timedelta(days=90)",
        "freshness_interval must be a cdk.Duration such as Duration.days(90), or left out, got 1",
        "ingest must be a FeatureIngest(...), or left out, got True",
        "online must be True or False, got 'yes'",
    ]


@pytest.mark.parametrize("groups", ["stock", ("stock", None)])
def test_fails_on_what_is_no_group(lock_file: Path, groups: Any) -> None:
    """Rejects other types as groups of a store and of a grant."""
    stack, store = _store(lock_file, _group("stock"))
    unit = BusinessUnit(stack, "Other", name="other", profile=Profile.DEVELOPMENT)

    with pytest.raises(ValidationError, match="InvalidFeatureStore: groups must be a list of FeatureGroup, got"):
        FeatureStore(stack, "Others", business_unit=unit, groups=groups, lock_file=lock_file)
    problem = f"InvalidFeatureStore: groups must be a list of FeatureGroup, or left out, got {groups!r} [S/Features]"
    with pytest.raises(ValidationError, match=re.escape(problem)):
        store.read_statements(groups=groups)


def test_fails_on_a_group_of_another_store(lock_file: Path) -> None:
    """The message lists the store's groups."""
    _, store = _store(lock_file, _group("stock"))

    with pytest.raises(ValidationError, match="UnknownFeatureGroup: group must be one of 'stock_v1', got 'sales_v1'"):
        store.table_name(_group("sales"))


def test_columns_added_at_the_end_keep_the_table(lock_file: Path) -> None:
    """Adding a nullable column updates in place: same logical id, same name, continued ids."""
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
