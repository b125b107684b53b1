"""The stock CDK CLI deploys, updates and destroys the same assembly through `AWS_ENDPOINT_URL`."""

import subprocess

import pytest

from mlops_local.stacks import deployer
from mlops_runtime.business_unit.sweep import empty_bucket


def _empty_buckets(cloud, stack):
    rows = cloud.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
    s3 = cloud.client("s3")
    for bucket in [row["PhysicalResourceId"] for row in rows if row["ResourceType"] == "AWS::S3::Bucket"]:
        empty_bucket(s3, bucket, has_time=lambda: True)


def test_bootstraps_deploys_updates_and_destroys(own_cloud, command_line, assembly, synthesize, tmp_path):
    """Without a wrapper or patch of the CLI: its report on the stack matches the cloud."""
    cloud = own_cloud()
    cdk, environment = command_line("cdk", cloud)

    def run(*arguments):
        done = subprocess.run(
            [cdk, "--no-notices", *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert "bootstrapped" in run("bootstrap", "--app", str(assembly), "aws://000000000000/us-east-1")
    output = run("deploy", "--app", str(assembly), "--require-approval", "never", "Foreign")
    assert "Foreign.Greeting = hello world" in output
    assert "no changes" in run("deploy", "--app", str(assembly), "--require-approval", "never", "Foreign")
    changed = synthesize(name="moon", columns=3)
    assert "Foreign.Greeting = hello moon" in run(
        "deploy", "--app", str(changed), "--require-approval", "never", "Foreign"
    )
    table = cloud.client("glue").get_table(DatabaseName="foreign_features", Name="sales_v1")["Table"]
    assert [column["Name"] for column in table["StorageDescriptor"]["Columns"]] == ["store", "event_time", "units"]
    # our deployer finds no difference to the CLI's deployment
    events = []
    assert deployer.deploy(cloud, changed, on_event=events.append)["Foreign"]["Greeting"] == "hello moon"
    assert events == []
    # the table's metadata is in a bucket that AWS would not delete either
    _empty_buckets(cloud, "Foreign")
    run("destroy", "--app", str(changed), "--force", "Foreign")
    with pytest.raises(cloud.client("cloudformation").exceptions.ClientError, match="does not exist"):
        cloud.client("cloudformation").describe_stacks(StackName="Foreign")


def test_takes_over_what_our_deployer_bootstrapped(own_cloud, command_line, assembly, tmp_path):
    """`cdk bootstrap` updates our stack in place: bucket and version stay."""
    cloud = own_cloud()
    cdk, environment = command_line("cdk", cloud)
    bucket = deployer.bootstrap(cloud)
    cloud.client("s3").put_object(Bucket=bucket, Key="kept", Body=b"1")
    arguments = [cdk, "--no-notices", "bootstrap", "--app", str(assembly), "aws://000000000000/us-east-1"]
    done = subprocess.run(
        arguments, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert cloud.client("s3").get_object(Bucket=bucket, Key="kept")["Body"].read() == b"1"
