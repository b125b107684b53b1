"""The Glue job for training sets too large for one machine: properties, and permissions of its role and its callers."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_iam as iam

from mlops_constructs import BusinessUnit, FeatureStore, Profile, TrainingSetJob, ValidationError, _assets
from mlops_constructs.compliance.harness import check
from mlops_runtime.features.lock_file import write_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mlops_constructs import FeatureGroup

    DefineStore = Callable[..., FeatureStore]
    Group = Callable[..., FeatureGroup]
    Resources = Callable[[FeatureStore, str], dict[str, Mapping[str, Any]]]


pytestmark = pytest.mark.usefixtures("wheels")


def _job(define_store: DefineStore, group: Group, **options: object) -> tuple[FeatureStore, TrainingSetJob]:
    store = define_store(group("stock"))
    return store, TrainingSetJob(store.node.scope, "Builds", business_unit=store._unit, store=store, **options)


def _statements(found: Mapping[str, Mapping[str, Any]], word: str) -> list[dict[str, Any]]:
    (policy,) = [each for name, each in found.items() if word in name]
    return list(policy["PolicyDocument"]["Statement"])


def test_the_job_is_of_glue_5_1_with_iceberg(define_store: DefineStore, group: Group, resources: Resources) -> None:
    """No speculation and no retry; the job's catalog is that of its settings."""
    store, _ = _job(define_store, group, number_of_workers=40, timeout=cdk.Duration.hours(2))
    ((_, job),) = resources(store, "AWS::Glue::Job").items()
    made = job
    assert (made["GlueVersion"], made["NumberOfWorkers"], made["WorkerType"]) == ("5.1", 40, "G.2X")
    assert (made["Timeout"], made["MaxRetries"]) == (120, 0)
    given = made["DefaultArguments"]
    assert (given["--datalake-formats"], given["--catalog"]) == ("iceberg", "glue_catalog")
    message = str(given["--conf"])
    for setting in ("catalog.glue_catalog=org.apache.iceberg.spark.SparkCatalog", "speculation=false"):
        assert f"spark.sql.{setting}" in message or f"spark.{setting}" in message


def test_the_role_writes_sets_and_no_table(define_store: DefineStore, group: Group, resources: Resources) -> None:
    """Deletes staged files, and files of a set under erasure; changes no manifest and no table."""
    store, _ = _job(define_store, group)
    statements = _statements(resources(store, "AWS::IAM::ManagedPolicy"), "BuildsRole")
    actions = {
        action
        for each in statements
        for action in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
    }
    assert not {action for action in actions if action.startswith("glue:")} - {"glue:GetTable", "glue:GetConnection"}
    deleted = [str(each["Resource"]) for each in statements if "s3:DeleteObject" in str(each["Action"])]
    assert deleted
    assert all("/staged/*" in each or "/sets/*" in each for each in deleted)
    written = [str(each["Resource"]) for each in statements if "s3:PutObject" in str(each["Action"])]
    assert not [each for each in written if "Data" in each]


def test_the_units_entry_of_the_store_names_the_first_job(
    define_store: DefineStore, group: Group, resources: Resources
) -> None:
    """The command finds the job; a store without one names none."""
    store, _ = _job(define_store, group)
    TrainingSetJob(store.node.scope, "Others", business_unit=store._unit, store=store)
    (first, _) = resources(store, "AWS::Glue::Job")
    entries = resources(store, "AWS::SSM::Parameter").values()
    (entry,) = [str(each["Value"]) for each in entries if "mlops.feature-store-entry/1" in str(each["Value"])]
    assert entry.count("training_set_job") == 1
    assert f"{{'Ref': '{first}'}}" in entry


def test_who_is_granted_starts_this_job_and_reads_how_it_ended(
    define_store: DefineStore, group: Group, resources: Resources
) -> None:
    """It may also stage a draft; final locations need another grant."""
    store, job = _job(define_store, group)
    user = iam.Role(store.node.scope, "Builder", assumed_by=iam.AccountRootPrincipal())
    job.grant_start(user)
    statements = _statements(resources(store, "AWS::IAM::Policy"), "Builder")
    ((name, _),) = resources(store, "AWS::Glue::Job").items()
    (start,) = [each for each in statements if "glue:StartJobRun" in each["Action"]]
    assert start["Action"] == ["glue:GetJobRun", "glue:StartJobRun"]
    assert start["Resource"]["Fn::Join"][1][-1] == {"Ref": name}
    put = [each for each in statements if "s3:PutObject" in each["Action"]]
    assert [str(each["Resource"]).count("/staged/*") for each in put] == [1]


def test_who_erases_reads_the_runs_of_this_job_alone(
    define_store: DefineStore, group: Group, resources: Resources
) -> None:
    """It starts no run; a killed run therefore does not keep an erasure pending."""
    store, job = _job(define_store, group)
    officer = iam.Role(store.node.scope, "Officer", assumed_by=iam.AccountRootPrincipal())
    job.grant_read_runs(officer)
    ((name, _),) = resources(store, "AWS::Glue::Job").items()
    (statement,) = _statements(resources(store, "AWS::IAM::Policy"), "Officer")
    assert statement["Action"] == "glue:GetJobRun"
    assert statement["Resource"]["Fn::Join"][1][-1] == {"Ref": name}


def test_what_a_killed_run_staged_goes_by_itself(define_store: DefineStore, group: Group, resources: Resources) -> None:
    """Expires after three days, as a run takes at most one, and old versions a day later."""
    store, _ = _job(define_store, group)
    (bucket,) = [each for name, each in resources(store, "AWS::S3::Bucket").items() if "TrainingSets" in name]
    (rule,) = [each for each in bucket["LifecycleConfiguration"]["Rules"] if each.get("Id") == "Staged"]
    assert (rule["Prefix"], rule["ExpirationInDays"]) == ("staged/", 3)
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"number_of_workers": 1}, "number_of_workers must be"),
        ({"timeout": cdk.Duration.minutes(4)}, "timeout must be"),
        ({"max_concurrent_runs": 0}, "max_concurrent_runs must be"),
        ({"worker_type": "G.3X"}, "worker_type must be one of"),
    ],
)
def test_fails_for_what_is_not_possible(
    define_store: DefineStore, group: Group, options: dict[str, object], problem: str
) -> None:
    """The error names the argument."""
    with pytest.raises(ValidationError, match=problem):
        _job(define_store, group, **options)


def test_the_package_has_all_that_the_job_imports_and_needs_no_duckdb() -> None:
    """Glue's wheels match those of a function's layer."""
    folder = _assets.job_package("training_set_spark")
    names = {str(path.relative_to(folder)) for path in folder.rglob("*.py")}
    assert {"mlops_runtime/features/distributed_build.py", "mlops_runtime/features/build_intent.py"} <= names
    for name in names:
        tree = ast.parse((folder / name).read_text())
        top = [node for node in tree.body if isinstance(node, ast.Import)]
        if name.endswith("training_set_difference.py"):
            continue
        assert "duckdb" not in {each.name for node in top for each in node.names}, name


@pytest.mark.parametrize("profile", [Profile.DEVELOPMENT, Profile.PRODUCTION])
def test_nothing_is_left_to_ask(tmp_path: Path, group: Group, profile: Profile) -> None:
    """Six packs report nothing unacknowledged, and each acknowledgement is used."""
    made = cdk.App()
    stack = cdk.Stack(made, "S", env=cdk.Environment(account="123456789012", region="eu-west-1"))
    unit = BusinessUnit(stack, "Unit", name="demand", profile=profile)
    write_lock([group()], tmp_path / "features.lock.json")
    lock_file = tmp_path / "features.lock.json"
    store = FeatureStore(stack, "Features", business_unit=unit, groups=[group()], lock_file=lock_file)
    TrainingSetJob(stack, "Builds", business_unit=unit, store=store)
    (found,) = check(made).stacks
    assert found.problems == []
