"""``mlops verify`` on its own embedded cloud: complete, rejected, interrupted, killed, disconnected; nothing is ever left."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import mlops_cli.stacks
from mlops_cli.stacks import synthesize
from mlops_local import cloud as local_cloud
from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.verify import SignedReport, Verdict
from mlops_runtime.verify.account import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.cloud

NAMES = names("000000000000", "us-east-1")
DRIVER = Path(__file__).with_name("verify_driver.py")
POINTS = 20
# mutating calls of a complete run, from the lock to its release
CHANGES = 79
QUOTA = "ml.m5.large for endpoint usage"


class Ground:
    """The cloud, an image in its registry, the synthesized unit, and the inventory before any verification."""

    def __init__(self, cloud: local_cloud.Cloud, folder: Path) -> None:
        self.cloud, self.folder, self.assembly = cloud, folder, folder / "assembly"
        self._client = functools.cache(cloud.client)
        given = {"unit": NAMES.unit, "stack": NAMES.stack, "bucket": NAMES.bucket, "repository": "mlops-runtime"}
        self.digest = self._push()
        synthesize(
            "python -m mlops_constructs._verified_unit", self.assembly, {"verify": {**given, "digest": self.digest}}
        )
        self.before = self.inventory()

    @property
    def image(self) -> str:
        """Return the serving image."""
        return f"mlops-runtime@{self.digest}"

    def inventory(self) -> dict[str, list[str]]:
        """Return all existing resources, by service."""
        client = self._client
        stacks = client("cloudformation").describe_stacks()["Stacks"]
        keys = [row["KeyId"] for row in client("kms").list_keys()["Keys"]]
        states = {key: client("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"] for key in keys}
        found = {
            "stacks": [row["StackName"] for row in stacks if row["StackStatus"] != "DELETE_COMPLETE"],
            "keys": [key for key, state in states.items() if state != "PendingDeletion"],
        }
        for service, operation, listed, name in (
            ("s3", "list_buckets", "Buckets", "Name"),
            ("ssm", "describe_parameters", "Parameters", "Name"),
            ("sagemaker", "list_endpoints", "Endpoints", "EndpointName"),
            ("sagemaker", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
            ("sagemaker", "list_models", "Models", "ModelName"),
            ("sagemaker", "list_model_package_groups", "ModelPackageGroupSummaryList", "ModelPackageGroupName"),
            ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
            ("logs", "describe_log_groups", "logGroups", "logGroupName"),
            ("iam", "list_roles", "Roles", "RoleName"),
            ("lambda", "list_functions", "Functions", "FunctionName"),
            ("lambda", "list_event_source_mappings", "EventSourceMappings", "UUID"),
            ("stepfunctions", "list_state_machines", "stateMachines", "name"),
            ("ec2", "describe_vpcs", "Vpcs", "VpcId"),
            ("ec2", "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
            ("ec2", "describe_security_groups", "SecurityGroups", "GroupId"),
            ("ec2", "describe_subnets", "Subnets", "SubnetId"),
            ("events", "list_rules", "Rules", "Name"),
            ("events", "list_event_buses", "EventBuses", "Name"),
            ("sns", "list_topics", "Topics", "TopicArn"),
            ("ecr", "describe_repositories", "repositories", "repositoryName"),
        ):
            found[operation] = sorted(row[name] for row in getattr(client(service), operation)().get(listed, []))
        found["policies"] = sorted(row["Arn"] for row in client("iam").list_policies(Scope="Local")["Policies"])
        found["tables"] = sorted(client("dynamodb").list_tables()["TableNames"])
        found["queues"] = sorted(client("sqs").list_queues().get("QueueUrls", []))
        return found

    def holds_nothing_new(self) -> None:
        """Assert that the cloud equals the inventory."""
        found = self.inventory()
        assert {kind: sorted(set(found[kind]) - set(self.before[kind])) for kind in found} == {
            kind: [] for kind in found
        }

    def start(self, mode: str, number: int, *arguments: str) -> subprocess.Popen[str]:
        """Start the command in a process that is killed or disconnected at a call."""
        command = [sys.executable, str(DRIVER), str(self.assembly), mode, str(number), "verify", *arguments]
        environment = {**os.environ, "COLUMNS": "300"}
        given = {
            "cwd": self.folder,
            "env": environment,
            "text": True,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        return subprocess.Popen([*command, "--home", str(self.cloud.home)], **given)  # type: ignore[call-overload, no-any-return]

    def run(self, mode: str, number: int, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        process = self.start(mode, number, *arguments)
        out, err = process.communicate(timeout=400)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def whole(self) -> tuple[str, ...]:
        """Return the arguments of a complete run."""
        return ("--image", self.image, "--max-usd", "50")

    def tell(self, address: str, body: object) -> None:
        """POST to the embedded cloud's own API."""
        self.cloud.call(f"/_mlops/{address}", body)

    def _push(self) -> str:
        ecr = self.cloud.client("ecr")
        ecr.create_repository(repositoryName="mlops-runtime")
        media = "application/vnd.docker.distribution.manifest.v2+json"
        config = {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": 2,
            "digest": "sha256:" + "1" * 64,
        }
        manifest = {"schemaVersion": 2, "mediaType": media, "config": config, "layers": []}
        pushed = ecr.put_image(repositoryName="mlops-runtime", imageManifest=json.dumps(manifest), imageTag="one")
        return str(pushed["image"]["imageId"]["imageDigest"])


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A separate cloud, so that remaining resources are visible."""
    folder = tmp_path_factory.mktemp("verify")
    cloud = local_cloud.up(folder / "cloud", clock_scale=120.0)
    try:
        yield Ground(cloud, folder)
    finally:
        cloud.down(forget=True)


@pytest.fixture
def verify(
    ground: Ground, in_process: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the verb in this process, in the test's folder."""

    def copied(_app: str, output: Path, _context: object) -> None:
        shutil.copytree(ground.assembly, output, dirs_exist_ok=True)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mlops_cli.stacks, "synthesize", copied)
    return lambda *arguments: in_process("verify", "--home", ground.cloud.home, *arguments)


def policy(*, without: str = "") -> dict[str, Any]:
    """Return the policy of a narrow role, as on the page."""
    page = (Path(__file__).parents[2] / "docs" / "verify.md").read_text()
    (text,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    for statement in found["Statement"]:
        if isinstance(statement["Action"], list):
            statement["Action"] = [action for action in statement["Action"] if action != without]
    return found


@pytest.fixture
def narrow(
    ground: Ground,
    verify: Callable[..., Any],
    in_process: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the verb with the permissions of a policy: ``narrow(policy(), "--free")``."""
    del verify  # for its folder and its assembly

    def run(document: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
        iam, trust = ground.cloud.client("iam"), {"AWS": "arn:aws:iam::000000000000:root"}
        statement = {"Effect": "Allow", "Principal": trust, "Action": "sts:AssumeRole"}
        trusting = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        role = iam.create_role(RoleName="Verifier", AssumeRolePolicyDocument=trusting)["Role"]["Arn"]
        try:
            iam.put_role_policy(RoleName="Verifier", PolicyName="Verify", PolicyDocument=json.dumps(document))
            keys = ground.cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="verifier")["Credentials"]
            path = tmp_path / "aws-config"
            path.write_text(
                f"[profile narrow]\nregion = us-east-1\nendpoint_url = {ground.cloud.endpoint_url}\n"
                f"aws_access_key_id = {keys['AccessKeyId']}\naws_secret_access_key = {keys['SecretAccessKey']}\n"
                f"aws_session_token = {keys['SessionToken']}\n"
            )
            monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
            monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
            ended: subprocess.CompletedProcess[str] = in_process("verify", "--profile", "narrow", *arguments)
            return ended
        finally:
            iam.delete_role_policy(RoleName="Verifier", PolicyName="Verify")
            iam.delete_role(RoleName="Verifier")

    return run


def report(folder: Path) -> SignedReport:
    """Return the only report of a folder."""
    (path,) = folder.glob("mlops-verify-*.json")
    return from_json(SignedReport, path.read_text())


def test_a_whole_run_shows_what_it_can_and_leaves_nothing(
    ground: Ground, verify: Callable[..., Any], narrow: Callable[..., Any], tmp_path: Path
) -> None:
    """Deploys, approves, serves, promotes, rolls back and deletes in the page's narrow role; the report is signed."""
    ended = narrow(policy(), *ground.whole())

    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = report(tmp_path).report
    verdicts = {result.claim: result.verdict for result in found.results}
    # the embedded cloud writes no flow logs
    assert [claim for claim, verdict in verdicts.items() if verdict is not Verdict.PASSED] == [
        "isolated-network-reaches-services"
    ]
    assert verdicts["isolated-network-reaches-services"] is Verdict.SKIPPED
    assert (found.cloud, found.region, found.left, found.image_digest) == ("embedded", "us-east-1", (), ground.digest)
    assert 0 < found.spent_usd <= found.estimate_usd + 1
    text = next(tmp_path.glob("mlops-verify-*.json")).read_text()
    assert "000000000000" not in text
    assert "arn:aws" not in text
    ground.holds_nothing_new()

    path = next(tmp_path.glob("mlops-verify-*.json"))
    checked = verify("--check", path)
    assert "is not evidence about AWS" in checked.stdout
    printed = re.search(r"signed with key (\w+)", ended.stdout)
    assert printed is not None
    assert f"signed with key {printed[1]}" in checked.stdout
    path.write_text(path.read_text().replace("embedded", "aws"))
    refused = verify("--check", path)
    assert refused.returncode == 1
    assert "changed after it was signed" in refused.stderr


def test_a_role_without_a_right_fails_by_its_name(ground: Ground, narrow: Callable[..., Any], tmp_path: Path) -> None:
    """The report has the action; dependent steps are skipped, and everything is removed."""
    ended = narrow(policy(without="ecr:BatchGetImage"), *ground.whole())

    assert ended.returncode == 3
    found = {result.claim: result for result in report(tmp_path).report.results}
    assert "not authorized to perform: ecr:BatchGetImage" in found["approved-model-serves"].evidence
    assert found["unit-is-deleted-while-serving"].verdict is Verdict.SKIPPED
    assert found["verify-leaves-nothing"].verdict is Verdict.PASSED
    ground.holds_nothing_new()


def test_the_digest_of_a_new_project_serves_on_the_embedded_cloud(
    ground: Ground, verify: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The 64 zeros of ``cdk.json`` need no push: the run passes the registry check and ends with its budget."""
    from mlops_runtime.verify import run

    zeros = "sha256:" + "0" * 64
    (tmp_path / "cdk.json").write_text(json.dumps({"context": {"image_digest": zeros}}))
    monkeypatch.setattr(run, "estimate", lambda *_: 0.01)
    ended = verify("--max-usd", "0.01")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = report(tmp_path).report
    assert found.image_digest == zeros
    verdicts = {result.claim: result for result in found.results}
    assert verdicts["cloudformation-takes-the-template"].verdict is Verdict.PASSED
    assert "over --max-usd 0.01" in verdicts["unit-deploys-without-a-model"].evidence
    ground.holds_nothing_new()


def test_free_checks_deploy_nothing(ground: Ground, verify: Callable[..., Any], tmp_path: Path) -> None:
    """Steps that need a deployment are skipped with the reason; nothing costs money."""
    ended = verify("--free", "--json")

    assert ended.returncode == 0, ended.stderr
    results = json.loads(ended.stdout)["report"]["results"]
    passed = [r["claim"] for r in results if r["verdict"] == "passed"]
    assert passed[-1] == "verify-leaves-nothing"
    assert len(passed) == 7
    assert {r["evidence"] for r in results if r["verdict"] == "skipped"} == {"--free"}
    assert report(tmp_path).report.spent_usd == 0
    ground.holds_nothing_new()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give --image REPOSITORY@sha256:DIGEST"),
        (("--image", "IMAGE"), "give --max-usd"),
        (("--image", "IMAGE", "--max-usd", "0.5"), r"the estimate is \d\.\d\d USD .* give --max-usd \d\.\d\d or more"),
        (("--image", "mlops-runtime:latest", "--max-usd", "9"), "must be REPOSITORY@sha256"),
        (
            ("--image", "222222222222.dkr.ecr.us-east-1.amazonaws.com/IMAGE", "--max-usd", "9"),
            "belongs to account 222222222222",
        ),
        (("--image", "mlops-runtime@sha256:" + "f" * 64, "--max-usd", "9"), "has no image mlops-runtime@sha256:fff"),
        (("--free", "--region", "eu-south-2"), "no prices for region 'eu-south-2'; it has eu-central-1"),
        (("--check", "none.json"), "file 'none.json' not found"),
        (
            ("--image", "IMAGE", "--max-usd", "nan"),
            "--max-usd must be a finite number of USD above 0, such as 2, got nan",
        ),
        (("--image", "IMAGE", "--max-usd", "inf"), "--max-usd must be a finite number .* got inf"),
        (("--image", "IMAGE", "--max-usd", "-1"), "--max-usd must be a finite number .* got -1"),
        (("--image", "IMAGE", "--max-usd", "0"), "--max-usd must be a finite number .* got 0"),
        (
            ("--image", "IMAGE", "--max-usd", "9", "--output", "nowhere/x.json"),
            "the folder 'nowhere' does not exist; create it",
        ),
        (("--free", "--output", "."), "--output must be a file, got the folder '.'"),
        (("--clean", "--region", "mars-north-1"), "no prices for region 'mars-north-1'; it has eu-central-1"),
        (
            ("--check", "none.json", "--free", "--clean"),
            "--check cannot be combined with --clean, --free; remove one side",
        ),
        (("--clean", "--free"), "--clean cannot be combined with --free"),
        (("--clean", "--max-usd", "2"), "--clean cannot be combined with --max-usd"),
    ],
)
def test_what_cannot_be_verified_is_refused_in_one_line(
    ground: Ground, verify: Callable[..., Any], tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    """Prints the fix; the next test shows that nothing is created."""
    ended = verify(*(argument.replace("IMAGE", ground.image) for argument in arguments))

    assert ended.returncode == 1
    assert re.search(words, ended.stderr)
    assert ended.stderr.count("\n") == 1
    assert list(tmp_path.glob("mlops-verify-*.json")) == []


def test_nothing_that_was_refused_has_made_anything(ground: Ground) -> None:
    """Checks once after the tests above."""
    ground.holds_nothing_new()


@pytest.mark.parametrize(
    ("address", "body", "clear", "words"),
    [
        (
            "quotas",
            {QUOTA: 3},
            {},
            rf"the quota '{QUOTA}' of region us-east-1 is 3, 0 are used, and a canary needs 4: request 4",
        ),
        ("quotas", {"VPCs per Region": 1}, {}, r"1 of 1 VPCs .* delete one, or request"),
        (
            "endpoint_services",
            ["states"],
            [],
            "no endpoint service com.amazonaws.us-east-1.states.*choose another region",
        ),
    ],
)
def test_a_region_that_cannot_hold_the_unit_is_refused(
    ground: Ground, verify: Callable[..., Any], address: str, body: object, clear: object, words: str
) -> None:
    """Fails before anything is deployed."""
    ground.tell(address, body)
    try:
        ended = verify(*ground.whole())
    finally:
        ground.tell(address, clear)

    assert ended.returncode == 1
    assert re.search(words, ended.stderr)
    assert ended.stderr.count("\n") == 1
    ground.holds_nothing_new()


def test_a_budget_that_ends_in_the_middle_stops_and_tears_down(
    ground: Ground, verify: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next step does not start; the report has the reason."""
    from mlops_runtime.verify import run

    monkeypatch.setattr(run, "estimate", lambda *_: 0.2)
    ended = verify("--image", ground.image, "--max-usd", "0.2")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = {result.claim: result for result in report(tmp_path).report.results}
    assert found["unit-deploys-without-a-model"].verdict is Verdict.PASSED
    assert found["canary-promotes"].verdict is Verdict.SKIPPED
    assert "over --max-usd 0.2" in found["canary-promotes"].evidence
    ground.holds_nothing_new()


def test_a_second_run_is_refused_and_an_interrupted_one_removes_what_it_made(
    ground: Ground, verify: Callable[..., Any]
) -> None:
    """A working run cannot be cleaned up either; SIGTERM works like Ctrl-C."""
    first = ground.start("none", 0, *ground.whole())
    cloudformation = ground.cloud.client("cloudformation")
    deadline = time.monotonic() + 120
    while not any(s["StackStatus"].startswith("CREATE") for s in cloudformation.describe_stacks()["Stacks"]):
        assert time.monotonic() < deadline
        time.sleep(0.2)

    second, cleaned = verify(*ground.whole()), verify("--clean")
    first.send_signal(signal.SIGTERM)
    _, err = first.communicate(timeout=300)

    assert second.returncode == cleaned.returncode == 1
    assert re.search(r"another verification \(run \w+\) holds this account and region.*wait for its end", second.stderr)
    assert "may still work" in cleaned.stderr
    assert first.returncode == 1
    assert re.fullmatch(r"mlops: interrupted; all resources of run \w+ were deleted\n", err)
    ground.holds_nothing_new()


def test_credentials_that_expire_leave_one_command(ground: Ground) -> None:
    """Prints what is left; the command removes it."""
    ended = ground.run("expire", 25, *ground.whole())

    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert re.search(
        rf"the credentials have expired: sign in again; left in the account: stack {NAMES.stack}, bucket .*"
        r"remove it with: mlops verify --clean --home \S+ --region us-east-1",
        ended.stderr,
    )
    cleaned = ground.run("none", 0, "--clean")
    assert cleaned.returncode == 0, cleaned.stderr
    assert f"stack {NAMES.stack}" in cleaned.stdout
    ground.holds_nothing_new()
    assert "nothing to delete" in ground.run("none", 0, "--clean").stdout


def killed_at(ground: Ground, point: int, mode: str) -> str:
    """Kill a run at a call, clean up, and assert that nothing is left."""
    ended = ground.run(mode, point, *ground.whole())
    if ended.returncode != -signal.SIGKILL:
        assert ended.returncode == 0, ended.stderr
        return "ended"
    if point % 2:  # the journal may be lost with the machine: names and tags suffice
        shutil.rmtree(ground.folder / ".mlops" / "verify", ignore_errors=True)
        ssm = ground.cloud.client("ssm")
        with contextlib.suppress(ssm.exceptions.ParameterNotFound):
            value = json.loads(ssm.get_parameter(Name=NAMES.lock)["Parameter"]["Value"])
            expired = json.dumps({**value, "until": "2020-01-01T00:00:00+00:00"})
            ssm.put_parameter(Name=NAMES.lock, Value=expired, Type="String", Overwrite=True)
    cleaned = ground.run("none", 0, "--clean")
    assert cleaned.returncode == 0, cleaned.stderr
    ground.holds_nothing_new()
    return "killed"


@pytest.mark.parametrize(("point", "mode"), [(20, "later"), (45, "later")])
def test_a_killed_run_is_cleaned_up(ground: Ground, point: int, mode: str) -> None:
    """Covers a kill during the stack's creation; and during the first rollout, with the journal lost."""
    assert killed_at(ground, point, mode) == "killed"


@pytest.mark.campaign
def test_a_run_killed_at_twenty_points_leaves_nothing(ground: Ground) -> None:
    """Seeded: before, after and two seconds after mutating calls."""
    drawn = random.Random(20)
    points = sorted(drawn.sample(range(1, CHANGES + 1), POINTS))
    outcomes = {point: killed_at(ground, point, drawn.choice(["before", "after", "later"])) for point in points}

    # two seconds after one of the last changes the run has ended
    assert list(outcomes.values()).count("killed") >= POINTS - 2, outcomes
