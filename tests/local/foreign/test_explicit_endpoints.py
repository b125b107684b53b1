"""Clients with explicit AWS endpoints: nothing leaves the machine, and the embedded cloud responds."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlops_local.cloud import Cloud

# an SDK with explicit endpoints: STS and S3 by address, the others without any setting of ours
BOTO3 = """
import json, os, sys
import boto3
found = {"sts": boto3.client("sts", endpoint_url="https://sts.us-east-1.amazonaws.com").get_caller_identity()["Arn"]}
for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
    del os.environ[name]
s3 = boto3.client("s3", region_name="eu-west-1")
s3.create_bucket(Bucket="by-address", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
s3.put_object(Bucket="by-address", Key="a/b c", Body=b"x" * 300_000)
found["s3"] = len(s3.get_object(Bucket="by-address", Key="a/b c")["Body"].read())
found["url"] = s3.meta.endpoint_url
for service, operation in json.loads(sys.argv[1]).items():
    found[service] = getattr(boto3.client(service), operation)()["ResponseMetadata"]["HTTPStatusCode"]
for service, operation in json.loads(sys.argv[2]).items():
    try:
        getattr(boto3.client(service), operation)()
    except Exception as error:
        found[service] = str(error)
print(json.dumps(found))
"""
CALLS = {
    "cloudformation": "list_stacks", "cloudwatch": "list_metrics", "dynamodb": "list_tables", "ec2": "describe_vpcs",
    "events": "list_rules", "glue": "get_databases", "iam": "list_roles", "kms": "list_keys", "lambda": "list_functions",
    "logs": "describe_log_groups", "sagemaker": "list_models", "sns": "list_topics", "sqs": "list_queues",
    "ssm": "describe_parameters", "stepfunctions": "list_state_machines",
}  # fmt: skip
REFUSED = {"polly": "list_lexicons", "redshift": "describe_clusters"}


@pytest.fixture
def shell(tmp_path: Path, cloud: Cloud) -> Callable[..., str]:
    """Run a line in a shell that evaluated ``mlops local env``, and return its output."""
    python = shlex.quote(sys.executable)

    def run(line: str, **environ: str) -> str:
        script = f'eval "$({python} -m mlops_cli local env --home {shlex.quote(str(cloud.home))})"\n{line}'
        given = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **environ}
        done = subprocess.run(
            ["sh", "-ec", script], env=given, capture_output=True, text=True, check=False, timeout=120
        )
        return done.stdout + done.stderr

    return run


def _hosts(cloud: Cloud) -> dict[str, Any]:
    found: dict[str, Any] = cloud.status()["hosts"]
    return found


def test_boto3_with_addresses_of_aws(shell: Callable[..., str], cloud: Cloud, tmp_path: Path) -> None:
    """All protocols, virtual hosts of buckets, another region; an unsupported service is rejected with its host."""
    script = tmp_path / "client.py"
    script.write_text(BOTO3)
    line = shlex.join([sys.executable, str(script), json.dumps(CALLS), json.dumps(REFUSED)])

    found = json.loads(shell(line))

    assert found.pop("sts") == "arn:aws:iam::000000000000:root"
    assert (found.pop("s3"), found.pop("url")) == (300_000, "https://s3.eu-west-1.amazonaws.com")
    for service in REFUSED:
        assert (
            f"service '{service}' (host {service}.us-east-1.amazonaws.com) is not in the embedded cloud"
            in found.pop(service)
        )
    assert found == dict.fromkeys(CALLS, 200)
    served = _hosts(cloud)["served"]
    assert {
        "sts.us-east-1.amazonaws.com",
        "by-address.s3.eu-west-1.amazonaws.com",
        "api.sagemaker.us-east-1.amazonaws.com",
    } <= served.keys()


def test_settings_of_a_real_account_do_not_lead_to_it(shell: Callable[..., str], cloud: Cloud) -> None:
    """A profile, a session token, the endpoint of one service, and a ``NO_PROXY`` with AWS's domain."""
    script = (
        "import boto3; sts = boto3.client('sts', endpoint_url='https://sts.eu-west-1.amazonaws.com'); "
        "print(sts.get_caller_identity()['Arn'])"
    )
    line = shlex.join([sys.executable, "-c", script])
    real = {
        "AWS_PROFILE": "production",
        "AWS_SESSION_TOKEN": "real",
        "AWS_ENDPOINT_URL_STS": "https://sts.eu-west-1.amazonaws.com",
        "NO_PROXY": ".amazonaws.com,*",
        "no_proxy": "amazonaws.com",
    }

    assert shell(line, **real) == "arn:aws:iam::000000000000:root\n"
    assert _hosts(cloud)["served"]["sts.eu-west-1.amazonaws.com"] >= 1


def test_the_aws_cli_reaches_no_queue_of_aws(command_line: Callable[..., Any], cloud: Cloud) -> None:
    """``aws sqs`` of version 1 uses the legacy host of a region whatever ``AWS_ENDPOINT_URL`` is."""
    command, environment = command_line("aws", cloud)

    def aws(*arguments: str) -> str:
        line = [command, "sqs", *arguments, "--output", "json"]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout

    url = json.loads(aws("create-queue", "--queue-name", "by-cli"))["QueueUrl"]
    aws("send-message", "--queue-url", url, "--message-body", "hello")
    (message,) = json.loads(aws("receive-message", "--queue-url", url))["Messages"]

    assert url.startswith(cloud.endpoint_url)
    assert message["Body"] == "hello"
    assert json.loads(aws("list-queues", "--endpoint-url", "https://queue.amazonaws.com"))["QueueUrls"]
    assert "queue.amazonaws.com" in _hosts(cloud)["served"]


def test_a_function_that_names_an_address_of_aws_stays_inside(cloud: Cloud, make_function: Callable[..., str]) -> None:
    """Functions on the embedded cloud use the proxy too, with their role's permissions."""
    code = (
        "import boto3\n"
        "def handler(event, context):\n"
        "    return boto3.client('sts', endpoint_url='https://sts.us-west-2.amazonaws.com').get_caller_identity()['Arn']\n"
    )
    make_function(cloud, "by-address", {"handler.py": code})

    answer = cloud.client("lambda").invoke(FunctionName="by-address")

    assert json.loads(answer["Payload"].read()).startswith("arn:aws:sts::000000000000:assumed-role/by-address-role/")
    assert "sts.us-west-2.amazonaws.com" in _hosts(cloud)["served"]


def test_node_stays_inside(shell: Callable[..., str], cloud: Cloud, tmp_path: Path) -> None:
    """The cdk CLI is a node program: its HTTPS client trusts the authority, and its proxy agent uses the proxy."""
    script = tmp_path / "client.mjs"
    script.write_text("""
import http from 'node:http'; import tls from 'node:tls';
const proxy = new URL(process.env.HTTPS_PROXY);
const pair = Buffer.from(`${proxy.username}:${proxy.password}`).toString('base64');
const headers = {'Proxy-Authorization': 'Basic ' + pair};
const host = 'sts.us-east-1.amazonaws.com';
const target = {host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: host + ':443', headers};
const ask = http.request(target);
ask.on('connect', (answer, socket) => {
  const secure = tls.connect({socket, servername: host}, () => {
    console.log(secure.authorized); secure.end(); process.exit(0);
  });
  secure.on('error', (error) => { console.log(String(error)); process.exit(1); });
});
ask.end();
""")
    node = Path(sys.executable).with_name("node")

    assert shell(f"{shlex.quote(str(node))} {shlex.quote(str(script))}").strip() == "true"
