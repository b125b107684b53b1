"""Lineage by boto3: entities, associations, and AWS's responses.

Shapes, errors and defaults are botocore's of each operation; that an artifact's ARN ends in a hash of its source is in the service
authorization reference: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
"""

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from conftest import Plane

ARN = "arn:aws:sagemaker:us-east-1:000000000000:"


def _artifact(plane: "Plane", uri: str, **more: Any) -> str:
    arn = plane.sagemaker.create_artifact(Source={"SourceUri": uri}, ArtifactType="DataSet", **more)["ArtifactArn"]
    assert isinstance(arn, str)
    return arn


def _action(plane: "Plane", name: str) -> str:
    source = {"SourceUri": f"s3://lineage/{name}"}
    arn = plane.sagemaker.create_action(ActionName=name, Source=source, ActionType="TrainingSetBuild")["ActionArn"]
    assert isinstance(arn, str)
    return arn


def test_an_artifact_is_found_by_its_source(plane: "Plane") -> None:
    """The ARN has a hash of the source, so a second artifact of the same source is rejected."""
    arn = _artifact(plane, "s3://lineage/a", ArtifactName="set-a", Properties={"rows": "7"})
    assert arn.startswith(f"{ARN}artifact/")
    with pytest.raises(ClientError, match="already exists") as error:
        _artifact(plane, "s3://lineage/a")
    assert error.value.response["Error"]["Code"] == "ValidationException"
    versioned = plane.sagemaker.create_artifact(
        Source={"SourceUri": "s3://lineage/a", "SourceTypes": [{"SourceIdType": "Custom", "Value": "1"}]},
        ArtifactType="DataSet",
    )["ArtifactArn"]
    found = plane.sagemaker.list_artifacts(SourceUri="s3://lineage/a")["ArtifactSummaries"]
    assert [row["ArtifactArn"] for row in found] == [versioned, arn]  # newest first by default
    assert plane.sagemaker.list_artifacts(SourceUri="s3://lineage/none")["ArtifactSummaries"] == []
    assert plane.sagemaker.list_artifacts(SourceUri="s3://lineage/a", ArtifactType="Model")["ArtifactSummaries"] == []
    described = plane.sagemaker.describe_artifact(ArtifactArn=arn)
    assert (described["ArtifactName"], described["Properties"]) == ("set-a", {"rows": "7"})
    assert described["CreatedBy"]["IamIdentity"]["Arn"]


def test_actions_and_contexts_are_described_by_name_and_arn(plane: "Plane") -> None:
    """Names are unique; name and ARN are equivalent."""
    arn = _action(plane, "build-1")
    assert arn == f"{ARN}action/build-1"
    by_name, by_arn = (plane.sagemaker.describe_action(ActionName=name) for name in ("build-1", arn))
    assert (by_name["Source"], by_name["ActionType"]) == (by_arn["Source"], "TrainingSetBuild")
    with pytest.raises(ClientError, match="already exists"):
        _action(plane, "build-1")
    context = plane.sagemaker.create_context(
        ContextName="group_1", Source={"SourceUri": "arn:table"}, ContextType="FeatureGroup"
    )["ContextArn"]
    assert plane.sagemaker.describe_context(ContextName=context)["ContextName"] == "group_1"
    assert [
        row["ContextArn"] for row in plane.sagemaker.list_contexts(ContextType="FeatureGroup")["ContextSummaries"]
    ] == [context]
    assert [
        row["ActionArn"] for row in plane.sagemaker.list_actions(SourceUri="s3://lineage/build-1")["ActionSummaries"]
    ] == [arn]


def test_associations_join_two_entities_once(plane: "Plane") -> None:
    """Both ends must exist; the list has types and names, and can be filtered by end and type."""
    source, action = _artifact(plane, "s3://lineage/join", ArtifactName="join"), _action(plane, "joining")
    add = plane.sagemaker.add_association
    add(SourceArn=source, DestinationArn=action, AssociationType="ContributedTo")
    with pytest.raises(ClientError, match="already exists"):
        add(SourceArn=source, DestinationArn=action, AssociationType="Produced")
    (found,) = plane.sagemaker.list_associations(SourceArn=source)["AssociationSummaries"]
    wanted = {
        "SourceArn": source,
        "DestinationArn": action,
        "SourceType": "DataSet",
        "DestinationType": "TrainingSetBuild",
        "AssociationType": "ContributedTo",
        "SourceName": "join",
        "DestinationName": "joining",
    }
    assert {name: found[name] for name in wanted} == wanted
    for nothing in ({"AssociationType": "Produced"}, {"DestinationType": "DataSet"}, {"DestinationArn": source}):
        assert plane.sagemaker.list_associations(SourceArn=source, **nothing)["AssociationSummaries"] == []
    for ends in (
        {"SourceArn": f"{ARN}artifact/00", "DestinationArn": action},
        {"SourceArn": source, "DestinationArn": f"{ARN}context/none"},
    ):
        with pytest.raises(plane.sagemaker.exceptions.ResourceNotFound, match="does not exist"):
            add(**ends)
    with pytest.raises(ClientError, match="associates action, artifact, context only"):
        add(SourceArn=source, DestinationArn=f"{ARN}experiment/e")


def test_deleting_takes_associations_away_first(plane: "Plane") -> None:
    """An associated entity cannot be deleted; a deleted one is not found."""
    source, action = _artifact(plane, "s3://lineage/gone"), _action(plane, "going")
    plane.sagemaker.add_association(SourceArn=source, DestinationArn=action)
    missing = plane.sagemaker.exceptions.ResourceNotFound
    for delete in (
        lambda: plane.sagemaker.delete_artifact(ArtifactArn=source),
        lambda: plane.sagemaker.delete_action(ActionName="going"),
    ):
        with pytest.raises(ClientError, match="has associations; delete them first"):
            delete()
    plane.sagemaker.delete_association(SourceArn=source, DestinationArn=action)
    with pytest.raises(missing):
        plane.sagemaker.delete_association(SourceArn=source, DestinationArn=action)
    with pytest.raises(ClientError, match="Either ArtifactArn or Source must be specified"):
        plane.sagemaker.delete_artifact()
    plane.sagemaker.delete_artifact(Source={"SourceUri": "s3://lineage/gone"})
    plane.sagemaker.delete_action(ActionName="going")
    for describe in (
        lambda: plane.sagemaker.describe_artifact(ArtifactArn=source),
        lambda: plane.sagemaker.describe_action(ActionName="going"),
        lambda: plane.sagemaker.delete_context(ContextName="never"),
    ):
        with pytest.raises(missing):
            describe()


def test_lists_have_ten_a_page(plane: "Plane") -> None:
    """MaxResults defaults to ten; a token continues after them; times limit the list."""
    hub = _action(plane, "hub")
    arns = {_artifact(plane, f"s3://lineage/page/{n}") for n in range(12)}
    for arn in arns:
        plane.sagemaker.add_association(SourceArn=arn, DestinationArn=hub)
    pages = list(plane.sagemaker.get_paginator("list_associations").paginate(DestinationArn=hub))
    assert [len(page["AssociationSummaries"]) for page in pages] == [10, 2]
    assert {row["SourceArn"] for page in pages for row in page["AssociationSummaries"]} == arns
    ordered = plane.sagemaker.list_associations(DestinationArn=hub, SortBy="SourceArn", SortOrder="Ascending")
    assert [row["SourceArn"] for row in ordered["AssociationSummaries"]] == sorted(arns)[:10]
    created = plane.sagemaker.describe_action(ActionName="hub")["CreationTime"]
    assert plane.sagemaker.list_associations(DestinationArn=hub, CreatedBefore=created)["AssociationSummaries"] == []
