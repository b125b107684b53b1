"""The page about adopting resources: its table matches the templates, and its commands work with the stock CDK CLI."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pyarrow as pa
import pytest
from pyiceberg.catalog.glue import GlueCatalog
from tests.campaign.lifecycle.assemblies import STACKS, resources, synthesize
from typer.testing import CliRunner

from mlops_cli.__main__ import app as command
from mlops_constructs import BusinessUnit, ModelRegistry, Profile
from mlops_local.cloud import Cloud
from mlops_local.stacks import deployer
from mlops_runtime.changes.existing_resources import IDENTIFIERS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "adopt.md").read_text()
STACK = "Adopted"


@pytest.fixture(scope="module")
def kept_types(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """Return the types that the example stacks retain in PRODUCTION."""
    folder = tmp_path_factory.mktemp("kept")
    return frozenset(
        body["Type"]
        for stack in STACKS
        for body in resources(synthesize(folder / stack, stack, Profile.PRODUCTION), stack).values()
        if str(body.get("DeletionPolicy", "")).startswith("Retain")
    )


def test_the_table_is_that_of_the_templates(kept_types: frozenset[str]) -> None:
    """Every retained type has a row with the identifier that the command writes, or says that it has none."""
    rows = dict(re.findall(r"^\| `(AWS::\w+::\w+)` \| `?([^`|]+?)`? \|", PAGE, re.MULTILINE))

    assert set(rows) == kept_types
    assert {kind: key for kind, key in rows.items() if kind in IDENTIFIERS} == IDENTIFIERS
    assert [kind for kind in rows if kind not in IDENTIFIERS] == ["AWS::Glue::Table"]


@pytest.fixture
def assembly(tmp_path: Path) -> Path:
    """Return the assembly of a unit with a registry in PRODUCTION."""
    app = cdk.App(outdir=str(tmp_path / "cdk.out"))
    stack = cdk.Stack(app, STACK)
    unit = BusinessUnit(stack, "Unit", name="adopted", profile=Profile.PRODUCTION)
    ModelRegistry(stack, "Registry", business_unit=unit, name="first")
    cdk.CfnOutput(stack, "Artifacts", value=unit.artifacts.bucket_name)
    cdk.CfnOutput(stack, "Automation", value=unit.automation_table.table_name)
    app.synth()
    return tmp_path / "cdk.out"


@pytest.mark.cloud
def test_what_a_destroyed_unit_kept_is_imported_and_deployed_again(
    cloud: Cloud, assembly: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's three commands work with the stock CLI: the new stack has the objects, items and packages."""
    cdk_program = shutil.which("cdk")
    if cdk_program is None:
        pytest.skip("no `cdk` on the path")
    monkeypatch.setenv("MLOPS_LOCAL_HOME", str(cloud.home))
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    s3, dynamodb = cloud.client("s3"), cloud.client("dynamodb")
    outputs = deployer.deploy(cloud, assembly)[STACK]
    s3.put_object(Bucket=outputs["Artifacts"], Key="models/one", Body=b"kept")
    dynamodb.put_item(TableName=outputs["Automation"], Item={"endpoint": {"S": "kept"}})
    deployer.destroy(cloud, assembly)

    planned = CliRunner().invoke(
        command, ["plan", STACK, "--app", str(assembly), "--mapping", str(tmp_path / "adopt.json")]
    )

    assert isinstance(planned.exception, Exception)
    assert "1 of the names to be created already exist" in str(planned.exception)
    mapping: dict[str, Any] = json.loads((tmp_path / "adopt.json").read_text())
    template = json.loads((assembly / f"{STACK}.template.json").read_text())["Resources"]
    assert set(mapping) == {
        name for name, body in template.items() if str(body.get("DeletionPolicy", "")).startswith("Retain")
    }

    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CDK_DISABLE_VERSION_CHECK": "true",
        **cloud.environment(),
    }

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [cdk_program, "--no-notices", *arguments, "--app", str(assembly)],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert STACK in run("import", STACK, "--resource-mapping", str(tmp_path / "adopt.json"))
    run("deploy", STACK, "--require-approval", "never")

    rows = cloud.client("cloudformation").describe_stack_resources(StackName=STACK)["StackResources"]
    physical = {row["LogicalResourceId"]: row["PhysicalResourceId"] for row in rows}
    assert {name: physical[name] for name in mapping} == {
        name: next(iter(entry.values())) for name, entry in mapping.items()
    }
    assert s3.get_object(Bucket=outputs["Artifacts"], Key="models/one")["Body"].read() == b"kept"
    assert dynamodb.get_item(TableName=outputs["Automation"], Key={"endpoint": {"S": "kept"}})["Item"]
    assert deployer.deploy(cloud, assembly)[STACK]["Artifacts"] == outputs["Artifacts"]


@pytest.mark.cloud
def test_a_feature_table_is_put_back_onto_its_files(cloud: Cloud) -> None:
    """A table removed from the catalog and created again by a deployment reads its former rows."""
    location = "s3://adopted-features/adopted_features/sales_v1"
    cloud.client("s3").create_bucket(Bucket="adopted-features")
    glue = cloud.client("glue")
    catalog = GlueCatalog(
        "adopt",
        client=glue,
        **{
            "s3.endpoint": cloud.endpoint_url,
            "s3.region": "us-east-1",
            "s3.access-key-id": cloud.root_keys()["aws_access_key_id"],
            "s3.secret-access-key": cloud.root_keys()["aws_secret_access_key"],
        },
    )
    catalog.create_namespace("adopted_features")
    rows = pa.table({"units": pa.array([1, 2, 3], pa.int64())})
    catalog.create_table("adopted_features.sales_v1", rows.schema, location=location).append(rows)
    found = glue.get_table(DatabaseName="adopted_features", Name="sales_v1")["Table"]
    noted = found["Parameters"]["metadata_location"]

    glue.delete_table(DatabaseName="adopted_features", Name="sales_v1")
    created = catalog.create_table("adopted_features.sales_v1", rows.schema, location=location)
    assert created.scan().to_arrow().num_rows == 0
    catalog.drop_table("adopted_features.sales_v1")
    catalog.register_table("adopted_features.sales_v1", noted)

    assert catalog.load_table("adopted_features.sales_v1").scan().to_arrow() == rows
