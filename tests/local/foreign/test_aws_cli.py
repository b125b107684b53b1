"""The stock `aws` command reads and writes the stack's resources."""

import json
import subprocess

import pytest


@pytest.fixture
def aws(foreign, command_line):
    """Run the AWS CLI and return its JSON."""
    command, environment = command_line("aws", foreign.cloud)

    def run(*arguments, data=None):
        line = [command, *arguments, "--output", "json"]
        done = subprocess.run(
            line, env=environment, input=data, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else {}

    return run


def test_copies_to_and_from_the_bucket(aws, foreign, tmp_path):
    """`s3 cp` both ways through the bucket's key."""
    bucket = foreign.outputs["BucketName"]
    aws("s3", "cp", "-", f"s3://{bucket}/cli.txt", data="from the command line")
    head = aws("s3api", "head-object", "--bucket", bucket, "--key", "cli.txt")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", foreign.outputs["KeyArn"])
    aws("s3api", "get-object", "--bucket", bucket, "--key", "cli.txt", str(tmp_path / "cli.txt"))
    assert (tmp_path / "cli.txt").read_text() == "from the command line"


def test_describes_the_stack_and_runs_the_machine(aws, foreign):
    """CloudFormation, Step Functions and Lambda respond to the CLI."""
    stack = aws("cloudformation", "describe-stacks", "--stack-name", "Foreign")["Stacks"][0]
    assert stack["StackStatus"] in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
    started = aws(
        "stepfunctions", "start-execution", "--state-machine-arn", foreign.outputs["MachineArn"], "--input", "{}"
    )
    assert started["executionArn"].startswith("arn:aws:states:us-east-1:000000000000:execution:")
    name = foreign.outputs["FunctionName"]
    assert aws("lambda", "get-function-configuration", "--function-name", name)["Runtime"] == "python3.13"


def test_puts_a_metric_and_reads_the_alarm(aws, foreign):
    """CloudWatch supports the CLI's protocol."""
    metric = ["--namespace", "Cli", "--metric-name", "m", "--value", "1", "--dimensions", "Unit=a"]
    aws("cloudwatch", "put-metric-data", *metric)
    found = aws("cloudwatch", "list-metrics", "--namespace", "Cli")["Metrics"]
    assert [(row["MetricName"], row["Dimensions"]) for row in found] == [("m", [{"Name": "Unit", "Value": "a"}])]
    alarms = aws("cloudwatch", "describe-alarms", "--alarm-names", foreign.outputs["AlarmName"])["MetricAlarms"]
    assert alarms[0]["AlarmActions"] == [foreign.outputs["TopicArn"]]


def test_puts_an_alarm_on_metric_math_and_sets_its_state(aws):
    """The CLI's shorthand and JSON reach the evaluator; a manually set state is visible at once."""
    metric = {"Namespace": "Cli", "MetricName": "m", "Dimensions": []}
    metrics = [
        {"Id": "e", "Expression": "m * 2"},
        {"Id": "m", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}, "ReturnData": False},
    ]
    put = [
        "--alarm-name",
        "cli-math",
        "--metrics",
        json.dumps(metrics),
        "--evaluation-periods",
        "1",
        "--threshold",
        "1",
    ]
    aws(
        "cloudwatch",
        "put-metric-alarm",
        *put,
        "--comparison-operator",
        "GreaterThanThreshold",
        "--treat-missing-data",
        "ignore",
    )
    state = ["--state-value", "ALARM", "--state-reason", "by hand"]
    aws("cloudwatch", "set-alarm-state", "--alarm-name", "cli-math", *state)
    (found,) = aws("cloudwatch", "describe-alarms", "--alarm-names", "cli-math")["MetricAlarms"]
    assert (found["StateValue"], found["StateReason"]) == ("ALARM", "by hand")
    assert found["Metrics"] == metrics
