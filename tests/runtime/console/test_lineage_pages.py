"""A package's lineage: back to its rows and code, and forward to its endpoints."""

import hashlib
from collections.abc import Callable
from typing import Any

from tests.cli.deployed_unit import DeployedUnit

from mlops_runtime.contracts.features import Build, Output, PinnedTable, Semantics, TrainingSetManifest
from mlops_runtime.contracts.unit_entries import FeatureStoreEntry
from mlops_runtime.features.training_set_manifest import Manifests

Ask = Callable[..., tuple[int, dict[str, Any]]]


def pinned(table: str, snapshot: int) -> PinnedTable:
    """A table as a training set read it."""
    return PinnedTable(
        group=table,
        version=1,
        database="features",
        table=table,
        table_uuid="u",
        snapshot_id=snapshot,
        sequence=1,
        schema_id=0,
        tag="t",
        columns=("units",),
    )


def register(unit: DeployedUnit, training_set: str) -> None:
    """Register the only package of the endpoint's group."""
    sagemaker = unit.cloud.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=unit.endpoint)
    image = "000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:" + "1" * 64
    sagemaker.create_model_package(
        ModelPackageGroupName=unit.endpoint,
        ModelApprovalStatus="PendingManualApproval",
        InferenceSpecification={
            "Containers": [{"Image": image, "ModelDataUrl": "s3://a/model.tar.gz"}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        CustomerMetadataProperties={"training_set_id": training_set, "code_sha256": "c" * 64},
    )


def test_a_package_leads_to_its_rows_and_to_its_promotions(ask: Ask, unit: DeployedUnit) -> None:
    """The manifest of its training set, checked by its hash, and the records of each endpoint of the group."""
    bucket = f"{unit.name}-manifests"
    unit.s3.create_bucket(Bucket=bucket)
    manifest = TrainingSetManifest(
        name="demand",
        semantics=Semantics(as_of="known_at", cutoff=None),
        entities=pinned("labels", 7),
        features=(pinned("sales", 2**60),),
        build=Build(engine="duckdb", engine_version="1.5", planner="1", client="1", source={"commit": "abc"}),
        output=Output(rows=120, content_hash=hashlib.sha256(b"").hexdigest(), files=(), columns={"units": "double"}),
    )
    identity = Manifests(f"s3://{bucket}/manifests", s3=unit.s3).write(manifest)
    unit.publish(
        FeatureStoreEntry(
            unit=unit.name, database="features", data_bucket="d", training_sets_bucket="t", manifests_bucket=bucket
        )
    )
    register(unit, identity)
    unit.serve(1)

    status, found = ask("GET", f"/packages/{unit.endpoint}/1/lineage")

    assert (status, found["unread"], found["training_set_id"]) == (200, [], identity)
    assert [(each["table"], each["snapshot"]) for each in found["training_set"]["reads"]] == [
        ("labels", "7"),
        ("sales", str(2**60)),
    ]
    assert (found["training_set"]["rows"], found["training_set"]["source"]) == (120, {"commit": "abc"})
    assert found["code"] == {"code_sha256": "c" * 64}
    assert [(each["endpoint"], each["sequence"], each["who"]) for each in found["promotions"]] == [
        (unit.endpoint, 1, "ann")
    ]


def test_a_set_of_a_unit_without_a_store_is_no_fault(ask: Ask, unit: DeployedUnit) -> None:
    """Its rows are a file of the person's own; the rest is shown."""
    register(unit, "d" * 64)

    status, found = ask("GET", f"/packages/{unit.endpoint}/1/lineage")
    missing, problem = ask("GET", f"/packages/{unit.endpoint}/2/lineage")

    assert (status, found.get("training_set"), found["training_set_id"], found["unread"]) == (200, None, "d" * 64, [])
    assert (missing, "mlops models list" in problem["detail"]) == (404, True)
