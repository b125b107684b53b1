"""The stock `aws` command creates and reads a lineage graph."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def aws(cloud, command_line) -> Callable[..., Any]:
    """Run the AWS CLI on the cloud, and return its JSON."""
    command, environment = command_line("aws", cloud)

    def run(*arguments: str) -> Any:
        line = [command, "sagemaker", *arguments, "--output", "json"]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else {}

    return run


def test_a_graph_is_drawn_read_and_taken_away(aws):
    """Artifact -> action in a context, found by source, listed page by page, deleted with its edges first."""
    source = ["--source", "SourceUri=s3://cli-lineage/set", "--artifact-type", "DataSet"]
    artifact = aws("create-artifact", "--artifact-name", "cli-set", *source)["ArtifactArn"]
    action = aws(
        "create-action",
        "--action-name",
        "cli-build",
        "--source",
        "SourceUri=s3://cli-lineage",
        "--action-type",
        "Build",
    )["ActionArn"]
    context = aws(
        "create-context", "--context-name", "cli-group", "--source", "SourceUri=cli", "--context-type", "FeatureGroup"
    )["ContextArn"]
    for destination, kind in ((action, "ContributedTo"), (context, "AssociatedWith")):
        ends = ["--source-arn", artifact, "--destination-arn", destination]
        assert aws("add-association", *ends, "--association-type", kind)["SourceArn"] == artifact
    (found,) = aws("list-artifacts", "--source-uri", "s3://cli-lineage/set")["ArtifactSummaries"]
    assert found["ArtifactArn"] == artifact
    pages = aws("list-associations", "--source-arn", artifact, "--page-size", "1")["AssociationSummaries"]
    assert {edge["AssociationType"] for edge in pages} == {"ContributedTo", "AssociatedWith"}
    for destination in (action, context):
        aws("delete-association", "--source-arn", artifact, "--destination-arn", destination)
    aws("delete-artifact", "--artifact-arn", artifact)
    aws("delete-action", "--action-name", "cli-build")
    aws("delete-context", "--context-name", "cli-group")
    assert aws("list-artifacts", "--source-uri", "s3://cli-lineage/set")["ArtifactSummaries"] == []
