"""Deploy and destroy an assembly on the running cloud."""

import json

import pytest
from botocore.exceptions import ClientError

from mlops_local import deployer

BUCKET = "cdk-hnb659fds-assets-000000000000-us-east-1"


def write(folder, name, resources, outputs=None, *, needs=()):
    """Add one stack to the assembly of a folder."""
    folder.mkdir(exist_ok=True)
    template = {"Resources": resources, "Outputs": {key: {"Value": value} for key, value in (outputs or {}).items()}}
    text = json.dumps(template)
    (folder / f"{name}.template.json").write_text(text)
    destination = {"bucketName": BUCKET, "objectKey": f"{name}-{abs(hash(text))}.json"}
    files = {"template": {"source": {"path": f"{name}.template.json"}, "destinations": {"current": destination}}}
    (folder / f"{name}.assets.json").write_text(json.dumps({"files": files}))
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text()) if file.exists() else {"artifacts": {}}
    manifest["artifacts"][f"{name}.assets"] = {
        "type": "cdk:asset-manifest",
        "properties": {"file": f"{name}.assets.json"},
    }
    manifest["artifacts"][name] = {
        "type": "aws:cloudformation:stack", "properties": {"templateFile": f"{name}.template.json"},
        "dependencies": [f"{name}.assets", *needs],
    }  # fmt: skip
    file.write_text(json.dumps(manifest))
    return folder


def parameter(value):
    """A resource that is quick to make."""
    return {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": value}}


def test_deploys_changes_and_leaves_alone(cloud, tmp_path):
    """Outputs come back, a second deploy changes nothing, a change is an update."""
    events = []
    folder = write(tmp_path / "out", "deployer-a", {"P": parameter("1")}, {"Name": {"Ref": "P"}})
    outputs = deployer.deploy(cloud, folder, on_event=events.append)
    assert cloud.client("ssm").get_parameter(Name=outputs["deployer-a"]["Name"])["Parameter"]["Value"] == "1"
    assert [str(event) for event in events if event.logical_id == "P"] == [
        "deployer-a | CREATE_IN_PROGRESS       | AWS::SSM::Parameter | P",
        "deployer-a | CREATE_COMPLETE          | AWS::SSM::Parameter | P",
    ]
    events.clear()
    assert deployer.deploy(cloud, folder, on_event=events.append) == outputs
    assert events == []
    write(folder, "deployer-a", {"P": parameter("2")}, {"Name": {"Ref": "P"}})
    assert deployer.deploy(cloud, folder, on_event=events.append) == outputs
    assert cloud.client("ssm").get_parameter(Name=outputs["deployer-a"]["Name"])["Parameter"]["Value"] == "2"
    assert deployer.destroy(cloud, folder) == []


def test_uploads_a_file_that_changed_under_its_key(cloud, tmp_path):
    """A template that was edited after synthesis is deployed although its key is there already."""
    folder = write(tmp_path / "out", "deployer-edited", {"P": parameter("1")}, {"Name": {"Ref": "P"}})
    deployer.deploy(cloud, folder)
    template = folder / "deployer-edited.template.json"
    template.write_text(template.read_text().replace('"Value": "1"', '"Value": "2"'))
    name = deployer.deploy(cloud, folder)["deployer-edited"]["Name"]
    assert cloud.client("ssm").get_parameter(Name=name)["Parameter"]["Value"] == "2"


def test_deploys_dependencies_first_and_destroys_them_last(cloud, tmp_path):
    """A stack that imports another's export deploys after it and goes before it."""
    folder = write(tmp_path / "out", "deployer-user", {"P": parameter("x")}, needs=["deployer-base"])
    write(folder, "deployer-base", {"P": parameter("x")})
    events = []
    deployer.deploy(cloud, folder, on_event=events.append)
    deployer.destroy(cloud, folder, on_event=events.append)
    ended = [event.stack for event in events if event.logical_id == event.stack and event.status.endswith("_COMPLETE")]
    assert ended == ["deployer-base", "deployer-user", "deployer-user", "deployer-base"]


def test_fails_with_each_failed_resource_and_its_reason(cloud, tmp_path):
    """The stack rolls back, the error says why, and a corrected template deploys in its place."""
    broken = {"Type": "AWS::EC2::FlowLog", "Properties": {"ResourceType": "VPC"}}
    folder = write(tmp_path / "out", "deployer-bad", {"P": parameter("1"), "Flow": broken})
    with pytest.raises(deployer.DeployError) as error:
        deployer.deploy(cloud, folder)
    assert error.value.status == "ROLLBACK_COMPLETE"
    assert [(item.logical_id, item.resource_type) for item in error.value.failures] == [("Flow", "AWS::EC2::FlowLog")]
    assert "stack deployer-bad ended as ROLLBACK_COMPLETE: Flow (AWS::EC2::FlowLog): model validation failed" in str(
        error.value
    )
    assert "'ResourceId' is a required property" in str(error.value)
    write(folder, "deployer-bad", {"P": parameter("1")}, {"Done": "yes"})
    assert deployer.deploy(cloud, folder)["deployer-bad"] == {"Done": "yes"}
    deployer.destroy(cloud, folder)


def test_fails_for_an_unknown_type_by_name_before_anything_is_made(cloud, tmp_path):
    """Nothing is left of a stack that could not start."""
    folder = write(tmp_path / "out", "deployer-unknown", {"Q": {"Type": "AWS::Quantum::Computer"}})
    with pytest.raises(deployer.DeployError, match=r"AWS::Quantum::Computer"):
        deployer.deploy(cloud, folder)
    with pytest.raises(ClientError, match="does not exist"):
        cloud.client("cloudformation").describe_stacks(StackName="deployer-unknown")


def test_destroy_leaves_what_is_retained(cloud, tmp_path):
    """A retained bucket keeps its objects and is named."""
    resources = {
        "Goes": {"Type": "AWS::S3::Bucket"},
        "Stays": {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain"},
    }
    outputs = {name: {"Ref": name} for name in resources}
    folder = write(tmp_path / "out", "deployer-buckets", resources, outputs)
    names = deployer.deploy(cloud, folder)["deployer-buckets"]
    s3 = cloud.client("s3")
    s3.put_object(Bucket=names["Stays"], Key="k", Body=b"1")
    assert [(event.logical_id, event.status) for event in deployer.destroy(cloud, folder)] == [
        ("Stays", "DELETE_SKIPPED")
    ]
    assert s3.get_object(Bucket=names["Stays"], Key="k")["Body"].read() == b"1"
    with pytest.raises(ClientError, match="Not Found"):
        s3.head_bucket(Bucket=names["Goes"])


def test_fails_to_destroy_what_is_not_empty(cloud, tmp_path):
    """As on AWS: nobody empties a bucket behind the template's back, and the stack goes once it is empty."""
    folder = write(tmp_path / "out", "deployer-full", {"Full": {"Type": "AWS::S3::Bucket"}}, {"Full": {"Ref": "Full"}})
    bucket = deployer.deploy(cloud, folder)["deployer-full"]["Full"]
    s3 = cloud.client("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    with pytest.raises(deployer.DeployError, match=r"ended as DELETE_FAILED: Full \(AWS::S3::Bucket\): .*not empty"):
        deployer.destroy(cloud, folder)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
    s3.delete_object(Bucket=bucket, Key="k")
    assert deployer.destroy(cloud, folder) == []


def test_bootstraps_once(cloud):
    """The bucket and the version are those that CDK's synthesizer asks for."""
    assert deployer.bootstrap(cloud) == deployer.bootstrap(cloud) == BUCKET
    version = cloud.client("ssm").get_parameter(Name="/cdk-bootstrap/hnb659fds/version")["Parameter"]["Value"]
    assert int(version) >= 6  # the synthesizer's own minimum
    assert cloud.client("s3").get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"


def test_fails_without_an_assembly(cloud, tmp_path):
    """A folder that holds none is named."""
    with pytest.raises(deployer.DeployError, match="no cloud assembly at"):
        deployer.deploy(cloud, tmp_path)
