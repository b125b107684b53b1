"""Several accounts and Regions in one embedded cloud."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import boto3
import pytest

from mlops_local import accounts
from mlops_local.cloud import Cloud, CloudError
from mlops_local.stacks import deployer

BUILD, STAGING, PRODUCTION = "111111111111", "222222222222", "333333333333"


class Shop(cdk.Stack):
    """A stack with a bucket, a role, a composite alarm and a parameter."""

    def __init__(self, scope: cdk.App, id: str, **kwargs: Any) -> None:
        super().__init__(scope, id, **kwargs)
        bucket = cdk.aws_s3.Bucket(self, "Bucket", encryption=cdk.aws_s3.BucketEncryption.KMS)
        cdk.aws_iam.Role(
            self, "Role", role_name=f"shop-{id.lower()}", assumed_by=cdk.aws_iam.AccountRootPrincipal()
        ).add_to_policy(cdk.aws_iam.PolicyStatement(actions=["s3:GetObject"], resources=[bucket.arn_for_objects("*")]))
        metric = cdk.aws_cloudwatch.Metric(namespace="Shop", metric_name="m")
        alarm = metric.create_alarm(self, "Alarm", threshold=1, evaluation_periods=1)
        cdk.aws_cloudwatch.CompositeAlarm(
            self,
            "All",
            composite_alarm_name=f"all-{id.lower()}",
            alarm_rule=cdk.aws_cloudwatch.AlarmRule.from_alarm(alarm, cdk.aws_cloudwatch.AlarmState.ALARM),
        )
        cdk.aws_ssm.StringParameter(self, "Same", parameter_name="/shop/same", string_value=id)
        cdk.CfnOutput(self, "BucketName", value=bucket.bucket_name)


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One app with stacks for three environments and one for none."""
    app = cdk.App(outdir=str(tmp_path_factory.mktemp("accounts")))
    for name, account, region in (
        ("Build", BUILD, "us-east-1"), ("Staging", STAGING, "eu-west-1"), ("Recovery", STAGING, "eu-central-1"),
    ):  # fmt: skip
        Shop(app, name, env=cdk.Environment(account=account, region=region))
    cdk.CfnParameter(cdk.Stack(app, "Anywhere"), "P", default="1")
    stack = app.node.find_child("Anywhere")
    cdk.aws_ssm.StringParameter(stack, "Here", parameter_name="/shop/anywhere", string_value="x")
    return Path(app.synth().directory)


def test_each_stack_goes_to_its_account_and_region(cloud: Cloud, assembly: Path) -> None:
    """With the same names, its own bootstrap bucket and nothing elsewhere; it is deleted there too."""
    at_home = cloud.at(PRODUCTION, "eu-west-1")
    try:
        deployer.deploy(at_home, assembly)
        for account, region, name in (
            (BUILD, "us-east-1", "Build"), (STAGING, "eu-west-1", "Staging"), (STAGING, "eu-central-1", "Recovery"),
        ):  # fmt: skip
            place = cloud.at(account, region)
            assert place.client("ssm").get_parameter(Name="/shop/same")["Parameter"]["Value"] == name
            arn = place.client("iam").get_role(RoleName=f"shop-{name.lower()}")["Role"]["Arn"]
            assert arn == f"arn:aws:iam::{account}:role/shop-{name.lower()}"
            found = place.client("cloudwatch").describe_alarms(AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
            assert f"arn:aws:cloudwatch:{region}:{account}:alarm:all-{name.lower()}" in [
                row["AlarmArn"] for row in found
            ]
            buckets = [row["Name"] for row in place.client("s3").list_buckets()["Buckets"]]
            assert f"cdk-hnb659fds-assets-{account}-{region}" in buckets
        assert at_home.client("ssm").get_parameter(Name="/shop/anywhere")["Parameter"]["Value"] == "x"
        composite = cloud.client("cloudwatch").describe_alarms(AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
        assert not [row for row in composite if row["AlarmName"].startswith("all-")]
    finally:
        deployer.destroy(at_home, assembly)
    names = [row["StackName"] for row in cloud.at(BUILD).client("cloudformation").describe_stacks()["Stacks"]]
    assert "Build" not in names


def test_stacks_of_one_name_are_refused(cloud: Cloud, tmp_path: Path) -> None:
    """Outputs and selections are by name."""
    app = cdk.App(outdir=str(tmp_path / "out"))
    for account in (BUILD, STAGING):
        cdk.Stack(app, f"In{account}", stack_name="shop", env=cdk.Environment(account=account, region="us-east-1"))
    with pytest.raises(deployer.DeployError, match=r"have the name shop.*give each a unique name"):
        deployer.deploy(cloud, Path(app.synth().directory))


def test_an_account_that_is_not_there_is_named(cloud: Cloud) -> None:
    """The message has the existing accounts, and how to add more."""
    with pytest.raises(CloudError, match=r"has no account 123456789012; it has 000000000000, .*--accounts N"):
        cloud.at("123456789012")
    with pytest.raises(accounts.AccountError, match="has no account 999999999999"):
        cloud.at(BUILD).at("999999999999")


def test_accounts_are_kept_with_their_state(own_cloud: Callable[..., Cloud], monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped cloud restarts with all of them; fewer are rejected while it has a state, and profiles follow the port."""
    with pytest.raises(CloudError, match="1 to 10 accounts, got 11"):
        own_cloud(account_count=11)
    cloud = own_cloud(account_count=3)
    cloud.at(STAGING, "eu-west-1").client("ssm").put_parameter(Name="/kept", Value="staging", Type="String")
    cloud.at(STAGING, "eu-west-1").client("s3").create_bucket(
        Bucket="kept-staging", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    build, statement = cloud.at(BUILD), {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{STAGING}:root"}}
    group = build.client("sagemaker").create_model_package_group(ModelPackageGroupName="kept")["ModelPackageGroupArn"]
    package = build.client("sagemaker").create_model_package(ModelPackageGroupName="kept")["ModelPackageArn"]
    reads = {**statement, "Action": "sagemaker:DescribeModelPackage", "Resource": package}
    build.client("sagemaker").put_model_package_group_policy(
        ModelPackageGroupName=group.rpartition("/")[2], ResourcePolicy=json.dumps({"Statement": [reads]})
    )
    puts = {**statement, "Action": "events:PutEvents", "Resource": "*"}
    build.client("events").put_permission(EventBusName="default", Policy=json.dumps({"Statement": [puts]}))
    cloud.down()
    with pytest.raises(CloudError, match="has 3 accounts, got 2; give at least 3, or"):
        own_cloud(account_count=2)
    again = own_cloud()
    assert again.accounts == ("000000000000", BUILD, STAGING)
    place = again.at(STAGING, "eu-west-1")
    assert place.client("ssm").get_parameter(Name="/kept")["Parameter"]["Value"] == "staging"
    assert [row["Name"] for row in place.client("s3").list_buckets()["Buckets"]] == ["kept-staging"]
    assert again.at(BUILD).client("s3").list_buckets()["Buckets"] == []
    reader = again.at(STAGING)
    assert reader.client("sagemaker").describe_model_package(ModelPackageName=package)["ModelPackageArn"] == package
    bus = f"arn:aws:events:us-east-1:{BUILD}:event-bus/default"
    row = {"Source": "mlops", "DetailType": "d", "Detail": "{}", "EventBusName": bus}
    assert reader.client("events").put_events(Entries=[row])["FailedEntryCount"] == 0

    for name, value in place.environment().items():
        monkeypatch.setenv(name, value)
    session = boto3.Session(profile_name=accounts.profile(BUILD))
    assert session.client("sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{BUILD}:root"
    assert boto3.Session().client("sts").get_caller_identity()["Account"] == STAGING


@pytest.mark.skipif(shutil.which("cdk") is None, reason="the stock CLI is missing; npm install -g aws-cdk")
def test_the_stock_cli_deploys_to_an_account_by_its_profile(cloud: Cloud, assembly: Path) -> None:
    """With its own bootstrap, from a shell of another account, without trust between them."""
    environment = {**os.environ, **cloud.environment(), "CI": "true"}
    profile = ["--profile", accounts.profile(STAGING)]
    commands = [
        ["cdk", "bootstrap", f"aws://{STAGING}/eu-west-1", *profile],
        ["cdk", "deploy", "Staging", "--app", str(assembly), "--require-approval", "never", *profile],
    ]
    try:
        for command in commands:
            done = subprocess.run(command, cwd=assembly, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-2000:]
        place = cloud.at(STAGING, "eu-west-1")
        assert place.client("ssm").get_parameter(Name="/shop/same")["Parameter"]["Value"] == "Staging"
    finally:
        deployer.destroy(cloud, assembly, ["Staging"])
