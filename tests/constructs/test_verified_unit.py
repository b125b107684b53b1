"""The app of a verification: a unit with a staging bucket of its own that retains nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import aws_cdk as cdk

from mlops_constructs import ModelImage
from mlops_constructs._verified_unit import VerifiedUnit
from mlops_constructs.business_unit.unit_network import INTERFACE_ENDPOINTS
from mlops_runtime.verify.account import names
from mlops_runtime.verify.template import Template

if TYPE_CHECKING:
    from pathlib import Path


def test_the_unit_needs_no_bootstrap_and_keeps_nothing(tmp_path: Path) -> None:
    """The caller's credentials upload the files; no resource is retained; one state machine; one interface endpoint per service."""
    given = names("1" * 12, "us-east-1")
    app = cdk.App(outdir=str(tmp_path))
    image = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "a" * 64)
    VerifiedUnit(app, "Verify", unit=given.unit, stack=given.stack, bucket=given.bucket, image=image)
    app.synth()

    document = json.loads((tmp_path / "Verify.template.json").read_text())
    assert "Parameters" not in document
    assert "cdk-hnb659fds" not in json.dumps(document)
    kept = [n for n, body in document["Resources"].items() if body.get("DeletionPolicy", "Delete") != "Delete"]
    assert kept == []
    assert {name for name, output in document["Outputs"].items() if "Export" not in output} == {
        "ApproverRoleArn",
        "ArtifactsBucket",
        "CaptureBucket",
        "DeployMachineArn",
        "EndpointName",
        "FlowLogs",
        "KeyArn",
        "ModelRoleArn",
    }
    template = Template(document, account="1" * 12, region="us-east-1")
    assert len(template.machines()) == 1
    assert {f"com.amazonaws.us-east-1.{name}" for name in INTERFACE_ENDPOINTS} <= set(template.interface_services())
