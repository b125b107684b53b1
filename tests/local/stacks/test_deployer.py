"""Reading a cloud assembly.

Deploy and destroy an assembly on the running cloud.
"""

import json
import os
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from mlops_local.stacks import deployer

BUCKET = "cdk-hnb659fds-assets-000000000000-us-east-1"


def write(folder, stacks, **manifest):
    """Write an assembly whose stacks are `name -> (dependencies, asset files)`."""
    artifacts = {}
    for name, (needs, files) in stacks.items():
        (folder / f"{name}.template.json").write_text('{"Resources": {}}')
        (folder / f"{name}.assets.json").write_text(json.dumps({"files": files, **manifest}))
        artifacts[f"{name}.assets"] = {"type": "cdk:asset-manifest", "properties": {"file": f"{name}.assets.json"}}
        artifacts[name] = {
            "type": "aws:cloudformation:stack", "dependencies": [f"{name}.assets", *needs],
            "properties": {"templateFile": f"{name}.template.json", "stackName": f"{name}-stack", "tags": {"unit": "demand"}},
        }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps({"version": "48.0.0", "artifacts": artifacts}))
    return folder


def read(folder, names=None):
    """Read for the tests' environment."""
    return deployer.read(folder, account="000000000000", region="us-east-1", names=names)


def asset(path, packaging="file", key="k"):
    """One asset of a manifest with CDK's placeholders."""
    where = {"bucketName": "cdk-assets-${AWS::AccountId}-${AWS::Region}", "objectKey": key}
    return {"source": {"path": path, "packaging": packaging}, "destinations": {"current": where}}


def test_puts_dependencies_first_and_takes_them_along(tmp_path):
    """A stack comes after what it needs, and naming it brings that along."""
    write(tmp_path, {"a": (["c"], {}), "b": ([], {}), "c": ([], {})})
    names = [stack.name for stack in read(tmp_path)]
    assert sorted(names) == ["a-stack", "b-stack", "c-stack"]
    assert names.index("c-stack") < names.index("a-stack")
    assert [stack.name for stack in read(tmp_path, ["a-stack"])] == ["c-stack", "a-stack"]


def test_fills_placeholders_and_finds_the_uploaded_template(tmp_path):
    """Bucket names get account and region; the template is the asset of its file."""
    files = {"1": asset("a.template.json", key="hash.json"), "2": asset("code", "zip", "code.zip")}
    write(tmp_path, {"a": ([], files)})
    (stack,) = read(tmp_path)
    assert (stack.template_key, stack.tags) == ("hash.json", {"unit": "demand"})
    assert [(item.bucket, item.key, item.zipped) for item in stack.assets] == [
        ("cdk-assets-000000000000-us-east-1", "hash.json", False),
        ("cdk-assets-000000000000-us-east-1", "code.zip", True),
    ]


def test_a_folder_always_gives_the_same_zip(tmp_path):
    """Times and the order of creation do not matter."""
    made = []
    for name, order in (("one", "ab"), ("two", "ba")):
        for file in order:
            path = tmp_path / name / "pkg" / f"{file}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file)
            os.utime(path, (len(made) * 1000, 0))
        made.append(deployer.zip_folder(tmp_path / name))
    assert made[0] == made[1]


def test_fails_without_an_assembly_or_stack(tmp_path):
    """The message says what there is."""
    with pytest.raises(
        deployer.AssemblyError, match=r"no cloud assembly at .*: there is no manifest.json; synthesize first"
    ):
        read(tmp_path)
    write(tmp_path, {"a": ([], {})})
    with pytest.raises(deployer.AssemblyError, match="no stack b in the assembly; it has a-stack"):
        read(tmp_path, ["b"])


def test_fails_for_what_the_embedded_cloud_cannot_build(tmp_path):
    """Docker images and commands are refused by name."""
    with pytest.raises(deployer.AssemblyError, match="holds docker images img: the embedded cloud builds none"):
        read(write(tmp_path, {"a": ([], {})}, dockerImages={"img": {}}))
    made = {"source": {"executable": ["make"]}, "destinations": {}}
    with pytest.raises(deployer.AssemblyError, match="asset 1 is made by a command"):
        read(write(tmp_path, {"a": ([], {"1": made})}))


def write_deployer(folder, name, resources, outputs=None, *, needs=()):
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
    folder = write_deployer(tmp_path / "out", "deployer-a", {"P": parameter("1")}, {"Name": {"Ref": "P"}})
    outputs = deployer.deploy(cloud, folder, on_event=events.append)
    assert cloud.client("ssm").get_parameter(Name=outputs["deployer-a"]["Name"])["Parameter"]["Value"] == "1"
    assert [str(event) for event in events if event.logical_id == "P"] == [
        "deployer-a | CREATE_IN_PROGRESS       | AWS::SSM::Parameter | P",
        "deployer-a | CREATE_COMPLETE          | AWS::SSM::Parameter | P",
    ]
    events.clear()
    assert deployer.deploy(cloud, folder, on_event=events.append) == outputs
    assert events == []
    write_deployer(folder, "deployer-a", {"P": parameter("2")}, {"Name": {"Ref": "P"}})
    assert deployer.deploy(cloud, folder, on_event=events.append) == outputs
    assert cloud.client("ssm").get_parameter(Name=outputs["deployer-a"]["Name"])["Parameter"]["Value"] == "2"
    assert deployer.destroy(cloud, folder) == []


def test_deploys_what_changes_outputs_alone(cloud, tmp_path):
    """Another value, one more and one less; the resource stays as it is."""
    name, resources, events = "deployer-outputs", {"P": parameter("1")}, []
    for outputs in ({"A": "1"}, {"A": "2"}, {"A": "2", "B": "3"}, {"B": "3"}):
        folder = write_deployer(tmp_path / "out", name, resources, outputs)
        assert deployer.deploy(cloud, folder, on_event=events.append) == {name: outputs}
    assert events.pop().status == "UPDATE_COMPLETE"
    events.clear()
    assert deployer.deploy(cloud, folder, on_event=events.append) == {name: {"B": "3"}}
    assert events == []
    assert deployer.destroy(cloud, folder) == []


def test_fails_while_another_deployment_is_on_its_way(cloud, tmp_path):
    """The second of two people is told to wait, and changes nothing."""
    name, refused = "deployer-twice", []
    folder = write_deployer(tmp_path / "first", name, {"P": parameter("1")})
    deployer.deploy(cloud, folder)
    waits = {
        "Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle"},
        "Waits": {
            "Type": "AWS::CloudFormation::WaitCondition",
            "Properties": {"Handle": {"Ref": "Handle"}, "Timeout": "8", "Count": 1},
        },
    }
    second = write_deployer(tmp_path / "second", name, {"P": parameter("2")})

    def deploy_too(_event):
        if not refused:
            with pytest.raises(deployer.DeployError) as error:
                deployer.deploy(cloud, second)
            refused.append(str(error.value))

    with pytest.raises(deployer.DeployError, match="Waits"):
        deployer.deploy(
            cloud, write_deployer(tmp_path / "first", name, {"P": parameter("1"), **waits}), on_event=deploy_too
        )
    assert "is in UPDATE_IN_PROGRESS state" in refused[0]
    assert refused[0].endswith("Another deployment is in progress; wait until it has ended, then deploy again")
    assert deployer.destroy(cloud, folder) == []


def test_uploads_a_file_that_changed_under_its_key(cloud, tmp_path):
    """A template that was edited after synthesis is deployed although its key is there already."""
    folder = write_deployer(tmp_path / "out", "deployer-edited", {"P": parameter("1")}, {"Name": {"Ref": "P"}})
    deployer.deploy(cloud, folder)
    template = folder / "deployer-edited.template.json"
    template.write_text(template.read_text().replace('"Value": "1"', '"Value": "2"'))
    name = deployer.deploy(cloud, folder)["deployer-edited"]["Name"]
    assert cloud.client("ssm").get_parameter(Name=name)["Parameter"]["Value"] == "2"


def test_a_file_is_another_after_it_was_written(tmp_path: Path) -> None:
    """Also one of a folder, by its name or its content; the same files anywhere are the same."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "a.py").write_text("1")

    def digest(path: Path) -> str:
        return deployer.FileAsset(path=path, zipped=path.is_dir(), bucket="b", key="k").digest()

    assert digest(first) == digest(second) != digest(first / "a.py")
    (first / "a.py").write_text("2")
    assert digest(first) != digest(second)
    (first / "a.py").write_text("1")
    assert digest(first) == digest(second)
    (first / "a.py").rename(first / "b.py")
    assert digest(first) != digest(second)


def test_deploys_dependencies_first_and_destroys_them_last(cloud, tmp_path):
    """A stack that imports another's export deploys after it and goes before it."""
    folder = write_deployer(tmp_path / "out", "deployer-user", {"P": parameter("x")}, needs=["deployer-base"])
    write_deployer(folder, "deployer-base", {"P": parameter("x")})
    events = []
    deployer.deploy(cloud, folder, on_event=events.append)
    deployer.destroy(cloud, folder, on_event=events.append)
    ended = [event.stack for event in events if event.logical_id == event.stack and event.status.endswith("_COMPLETE")]
    assert ended == ["deployer-base", "deployer-user", "deployer-user", "deployer-base"]


def test_fails_with_each_failed_resource_and_its_reason(cloud, tmp_path):
    """The stack rolls back, the error says why, and a corrected template deploys in its place."""
    broken = {"Type": "AWS::EC2::FlowLog", "Properties": {"ResourceType": "VPC"}}
    folder = write_deployer(tmp_path / "out", "deployer-bad", {"P": parameter("1"), "Flow": broken})
    with pytest.raises(deployer.DeployError) as error:
        deployer.deploy(cloud, folder)
    assert error.value.status == "ROLLBACK_COMPLETE"
    assert [(item.logical_id, item.resource_type) for item in error.value.failures] == [("Flow", "AWS::EC2::FlowLog")]
    assert "stack deployer-bad ended as ROLLBACK_COMPLETE: Flow (AWS::EC2::FlowLog): model validation failed" in str(
        error.value
    )
    assert "'ResourceId' is a required property" in str(error.value)
    write_deployer(folder, "deployer-bad", {"P": parameter("1")}, {"Done": "yes"})
    assert deployer.deploy(cloud, folder)["deployer-bad"] == {"Done": "yes"}
    deployer.destroy(cloud, folder)


def test_fails_for_an_unknown_type_by_name_before_anything_is_made(cloud, tmp_path):
    """Nothing is left of a stack that could not start."""
    folder = write_deployer(tmp_path / "out", "deployer-unknown", {"Q": {"Type": "AWS::Quantum::Computer"}})
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
    folder = write_deployer(tmp_path / "out", "deployer-buckets", resources, outputs)
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
    folder = write_deployer(
        tmp_path / "out", "deployer-full", {"Full": {"Type": "AWS::S3::Bucket"}}, {"Full": {"Ref": "Full"}}
    )
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
