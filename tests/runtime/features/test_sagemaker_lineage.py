"""Training sets in the lineage graph of the embedded SageMaker."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts.features import Build, Output, PinnedTable, Semantics, TrainingSetManifest
from mlops_runtime.features.sagemaker_lineage import SageMakerLineage, SageMakerLineageError, _name

CATALOG = "arn:aws:glue:us-east-1:000000000000"
MANIFESTS = "s3://lineage-sets/manifests"
WRITES = ("CreateArtifact", "CreateAction", "CreateContext", "AddAssociation")


def pinned(table, snapshot):
    """Return a table at a snapshot."""
    return PinnedTable(
        group=table,
        version=1,
        database="demand_features",
        table=f"{table}_v1",
        table_uuid=f"uuid-{table}",
        snapshot_id=snapshot,
        sequence=1,
        schema_id=0,
        tag="ts-1",
        columns=("units",),
        entities=("store_id",),
    )


def manifests(name):
    """Return the manifest of a training set over its own tables."""
    return TrainingSetManifest(
        name=name,
        semantics=Semantics(as_of="known_at", cutoff="2017-01-01T00:00:00Z"),
        entities=pinned(f"{name}_sales", 11),
        features=(pinned(f"{name}_stock", 22),),
        build=Build(
            engine="duckdb", engine_version="1.5.5", planner="pit/3", client="0.1.0", source={"commit": "beef"}
        ),
        output=Output(rows=6, content_hash="h1:00", files=(), columns={"units": "double"}),
    )


@pytest.fixture
def sagemaker(cloud):
    """Return a client of the embedded SageMaker."""
    return cloud.client("sagemaker")


def lineage(sagemaker):
    """Return the lineage adapter."""
    return SageMakerLineage(sagemaker, catalog=CATALOG, manifests=MANIFESTS)


def edges(sagemaker, arns):
    """Return (kind of source, association, kind of destination) of all associations from some entities."""
    found = []
    for arn in arns:
        for page in sagemaker.get_paginator("list_associations").paginate(SourceArn=arn):
            found += [
                (row["SourceType"], row["AssociationType"], row["DestinationType"], row["DestinationArn"])
                for row in page["AssociationSummaries"]
            ]
    return sorted(found)


@pytest.mark.cloud
def test_a_training_set_stands_in_the_graph_once(sagemaker):
    """Snapshots contribute to the build that produced the set and belong to their group; a rerun writes nothing."""
    manifest = manifests("once")
    recorded = lineage(sagemaker).record(manifest)
    assert len(recorded.snapshots) == len(recorded.contexts) == 2
    assert (
        recorded.created == 2 + 2 * 5 + 1
    )  # set and build; per table two entities and three associations; one in between
    wanted = {
        ("DataSet", "ContributedTo", "TrainingSetBuild", recorded.action),
        ("DataSet", "DerivedFrom", "DataSet", recorded.training_set),
        ("TrainingSetBuild", "Produced", "DataSet", recorded.training_set),
        *(("DataSet", "AssociatedWith", "FeatureGroup", context) for context in recorded.contexts),
    }
    found = edges(sagemaker, [*recorded.snapshots, recorded.action, recorded.training_set])
    assert set(found) == wanted
    assert len(found) == 7
    described = sagemaker.describe_artifact(ArtifactArn=recorded.training_set)
    assert described["Properties"]["content_hash"] == manifest.output.content_hash
    action = sagemaker.describe_action(ActionName=recorded.action)
    assert (action["Status"], action["MetadataProperties"]) == ("Completed", {"CommitId": "beef"})
    again = lineage(sagemaker).record(manifest)
    assert again == replace(recorded, created=0)
    assert edges(sagemaker, [*recorded.snapshots, recorded.action, recorded.training_set]) == found


@pytest.mark.cloud
def test_another_set_of_the_same_snapshots_shares_them(sagemaker):
    """A snapshot is one artifact for all readers, also for a table used as labels and features."""
    first = manifests("shared")
    second = replace(first, name="shared-again", features=(*first.features, first.entities))
    one, two = (lineage(sagemaker).record(manifest) for manifest in (first, second))
    assert (two.snapshots, two.contexts) == (one.snapshots, one.contexts)
    assert two.training_set != one.training_set
    assert two.created == 2 + 2 * 2 + 1


@pytest.mark.cloud
def test_recording_goes_on_after_any_call_that_failed(sagemaker):
    """A failed write is reported; a repeat completes the graph as one run would have."""
    whole = lineage(sagemaker).record(manifests("whole"))
    shape = [edge[:3] for edge in edges(sagemaker, [*whole.snapshots, whole.action])]
    for last in range(whole.created):
        left = [last]

        def fail(model, left=left, **_):
            if model.name not in WRITES:
                return
            if left[0] == 0:
                denied = {"Error": {"Code": "ThrottlingException", "Message": "rate exceeded"}}
                raise ClientError(denied, model.name)
            left[0] -= 1

        manifest = manifests(f"broken-{last}")
        sagemaker.meta.events.register("before-call.sagemaker", fail, unique_id="fail")
        with pytest.raises(SageMakerLineageError, match=r"(Create|Add)\w+ of .* failed: .*rate exceeded"):
            lineage(sagemaker).record(manifest)
        sagemaker.meta.events.unregister("before-call.sagemaker", unique_id="fail")
        rest = lineage(sagemaker).record(manifest)
        assert rest.created == whole.created - last
        assert [edge[:3] for edge in edges(sagemaker, [*rest.snapshots, rest.action])] == shape


@pytest.mark.cloud
def test_two_at_once_record_one_graph(sagemaker):
    """The second process finds the first one's entities."""
    manifest = manifests("twice")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: lineage(sagemaker).record(manifest), range(4)))
    assert len({replace(answer, created=0) for answer in answers}) == 1
    assert len(edges(sagemaker, [*answers[0].snapshots, answers[0].action])) == 7


@pytest.mark.cloud
def test_a_package_is_linked_to_its_training_set(sagemaker):
    """The set's id is in the package's metadata; packages without one, or of an unknown set, are skipped."""
    adapter, manifest = lineage(sagemaker), manifests("packaged")
    recorded = adapter.record(manifest)
    training_set = sagemaker.describe_artifact(ArtifactArn=recorded.training_set)["Properties"]["training_set_id"]
    arn = "arn:aws:sagemaker:us-east-1:000000000000:model-package/demand-forecast/3"
    package = {
        "ModelPackageArn": arn,
        "CustomerMetadataProperties": {"training_set_id": training_set, "model_sha256": "b" * 64},
    }
    linked = adapter.link_package(package)
    assert linked == adapter.link_package(package)
    assert edges(sagemaker, [recorded.training_set]) == [("DataSet", "ContributedTo", "Model", linked)]
    described = sagemaker.describe_artifact(ArtifactArn=linked)
    assert (described["Source"]["SourceUri"], described["Properties"]["training_set_id"]) == (arn, training_set)
    assert adapter.link_package({"ModelPackageArn": arn}) is None
    foreign = {"ModelPackageArn": arn, "CustomerMetadataProperties": {"training_set_id": "0" * 64}}
    assert adapter.link_package(foreign) is None


@pytest.mark.cloud
def test_a_set_of_somebodys_entity_rows_has_no_table_of_labels(sagemaker):
    """Only its features contribute; a missing cutoff is omitted."""
    manifest = replace(manifests("frame"), entities=None, semantics=Semantics(as_of="known_at", cutoff=None))
    recorded = lineage(sagemaker).record(manifest, uri="s3://lineage-sets/sets/frame/1")
    assert len(recorded.snapshots) == 1
    properties = sagemaker.describe_artifact(ArtifactArn=recorded.training_set)["Properties"]
    assert properties["uri"] == "s3://lineage-sets/sets/frame/1"
    assert "cutoff" not in properties


def test_fails_when_catalog_or_prefix_are_none():
    """Both problems are reported together."""
    with pytest.raises(
        SageMakerLineageError, match=r"catalog must be arn:aws:glue:.*got 'glue'; manifests must be an s3://"
    ):
        SageMakerLineage(None, catalog="glue", manifests="/tmp/manifests")


@given(st.text(max_size=200), st.text(max_size=20), st.text(max_size=20))
def test_names_are_within_limits_and_tell_identities_apart(text, one, other):
    """Names match botocore's pattern of ExperimentEntityName, at most 120 characters."""
    name = _name(text, one)
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,119}", name)
    assert len(name) <= 120
    assert (name == _name(text, other)) is (one == other)
