"""The client's ``predict`` over a million rows, and ``mlops runs list`` over 500 runs, on the embedded cloud.

``python -m benchmarks.client predict`` and ``python -m benchmarks.client runs``: bounds are 60 s and 2 s.
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import boto3
import numpy as np
import pyarrow as pa
from benchmarks.measure import HEADER, load, measure
from benchmarks.serving.model import WIDTH, write
from moto import mock_aws

from mlops_local import cloud as local_cloud
from mlops_runtime.client import Unit
from mlops_runtime.contracts import canonical_json, to_dict
from mlops_runtime.contracts.model import Evaluation, GateResult, GateVerdict, LossBlock
from mlops_runtime.contracts.retraining import Decision, GuardDecision, Trigger
from mlops_runtime.contracts.unit_entries import EndpointEntry, PipelineEntry, UnitEntry, entry_name, entry_value

ROWS = 1_000_000
RUNS = 500
REFUSALS = 300
PIPELINE = "bench-forecast"
UNIT = UnitEntry(
    unit="bench",
    automation_table="a",
    audit_bucket="audit",
    artifacts_bucket="artifacts",
    bus="bus",
    heads_bucket="heads",
    signing_key="s",
    pause_key="p",
    owner="demand",
    cost_center="demand",
)


def predict() -> None:
    """Send a million rows of 20 numbers to the model server, in its own process on this machine."""
    with tempfile.TemporaryDirectory() as folder, mock_aws():
        write(Path(folder) / "model")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        variables = {"MLOPS_OPT_ML": folder, "MLOPS_BIND_HOST": "127.0.0.1", "SAGEMAKER_BIND_TO_PORT": str(port)}
        server = subprocess.Popen(
            [sys.executable, "-m", "mlops_runtime.serving", "serve"],
            env=os.environ | variables,
            stderr=subprocess.DEVNULL,
        )
        try:
            _await(port)
            _predict(f"http://127.0.0.1:{port}")
        finally:
            server.terminate()
            server.wait()


def _predict(url: str) -> None:
    session = boto3.Session(region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing")  # noqa: S106 - of moto
    endpoint = EndpointEntry(
        endpoint=PIPELINE,
        unit="bench",
        group=PIPELINE,
        rollout_table="t",
        deploy_machine="m",
        target="EKS",
        url=url,
        is_monitored=False,
    )
    for entry in (UNIT, endpoint):
        session.client("ssm").put_parameter(Name=entry_name(entry), Value=entry_value(entry), Type="String")
    values = np.random.default_rng(11).normal(size=(ROWS, WIDTH)).round(4)
    table = pa.table({f"f{number}": values[:, number] for number in range(WIDTH)})
    model = Unit.connect("bench", session=session).model("forecast")
    before, started = os.times(), time.perf_counter()
    found = model.predict(table)
    wall, after = time.perf_counter() - started, os.times()
    cpu = after.user + after.system - before.user - before.system
    print(f"{len(found)} rows of {WIDTH} columns in {wall:.1f} s, {cpu:.1f} CPU s of the client")


def _await(port: int) -> None:
    for _ in range(300):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            client.request("GET", "/ping")
            if client.getresponse().status == http.HTTPStatus.OK:
                return
        except OSError:
            time.sleep(0.1)
        finally:
            client.close()
    raise SystemExit("the server did not start")


def runs() -> None:
    """Write 500 runs and 300 rejected requests, and time the command that lists them."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = local_cloud.up(Path(folder) / "cloud")
        try:
            _lay_down(cloud)
            print(HEADER)
            for last in (20, RUNS):
                command = [sys.executable, "-m", "mlops_cli", "runs", "list", "--last", str(last), "--json"]
                figure = measure(f"runs list --last {last}", [*command, "--home", str(cloud.home)], runs=5)
                print(figure.row())
        finally:
            cloud.down(forget=True)


def _lay_down(cloud: local_cloud.Cloud) -> None:
    s3, dynamodb = cloud.client("s3"), cloud.client("dynamodb")
    s3.create_bucket(Bucket="artifacts")
    dynamodb.create_table(
        TableName="retraining",
        KeySchema=[{"AttributeName": "pipeline", "KeyType": "HASH"}, {"AttributeName": "item", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pipeline", "item")],
        BillingMode="PAY_PER_REQUEST",
    )
    machine = cloud.client("stepfunctions").create_state_machine(
        name="Retrain",
        definition=json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}),
        roleArn=cloud.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=_TRUST)["Role"]["Arn"],
    )["stateMachineArn"]
    cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName=PIPELINE)
    pipeline = PipelineEntry(
        pipeline=PIPELINE,
        unit="bench",
        group=PIPELINE,
        retraining_table="retraining",
        retrain_machine=machine,
        queue_url="q",
    )
    for entry in (UNIT, pipeline):
        cloud.client("ssm").put_parameter(Name=entry_name(entry), Value=entry_value(entry), Type="String")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: _lay_run(cloud, machine, number), range(RUNS)))
        list(pool.map(lambda number: _lay_refusal(cloud, number), range(REFUSALS)))


_TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


def _lay_run(cloud: local_cloud.Cloud, machine: str, number: int) -> None:
    name = f"20261101-{number:015d}"
    arn = cloud.client("stepfunctions").start_execution(stateMachineArn=machine, name=name)["executionArn"]
    rivals = ("candidate", "champion", "last_week", "naive_mean")
    blocks = tuple(
        LossBlock(block=f"store-{i}", rows=60, actual_sum=600.0, absolute_error=dict.fromkeys(rivals, 60.0 + i))
        for i in range(50)
    )
    evaluation = Evaluation(
        metric="wape", metrics=dict.fromkeys(rivals, 0.14), blocks=blocks, rows=3000, trained_until="2026-10-01",
        holdout_from="2026-10-01", holdout_until="2026-11-01", artifact_sha256="a" * 64, model_sha256="b" * 64,
        training_set_id="c" * 64, baseline_uri="s3://artifacts/baseline.json", baseline_sha256="d" * 64,
    )  # fmt: skip
    gate = GateResult(
        verdict=GateVerdict.FAILED, checks=(), evaluation_uri="u", evaluation_sha256="f" * 64, reason="worse",
        metric="wape", metrics=evaluation.metrics,
    )  # fmt: skip
    for key, document in {
        f"evaluations/{PIPELINE}/{name}/evaluation.json": evaluation,
        f"gates/{PIPELINE}/{name}.json": gate,
    }.items():
        cloud.client("s3").put_object(Bucket="artifacts", Key=key, Body=canonical_json(document))
    decision = GuardDecision(
        decision=Decision.STARTED, event_id=f"s{number}", at="2026-11-01T09:00:00Z", reason="", execution=arn
    )
    _put(cloud, replace(decision, trigger=Trigger.SCHEDULE, requested_by="aws.events"))


def _lay_refusal(cloud: local_cloud.Cloud, number: int) -> None:
    at = f"2026-10-{number % 28 + 1:02d}T{number % 24:02d}:00:00Z"
    decision = GuardDecision(decision=Decision.COOLING_DOWN, event_id=f"r{number}", at=at, reason="of the cool-down")
    _put(cloud, replace(decision, trigger=Trigger.ALARM, requested_by=f"alarm-{number % 3}"))


def _put(cloud: local_cloud.Cloud, decision: GuardDecision) -> None:
    texts = {name: {"S": value} for name, value in to_dict(decision).items()}
    key = {"pipeline": {"S": PIPELINE}, "item": {"S": f"EVENT#{decision.event_id}"}}
    cloud.client("dynamodb").put_item(TableName="retraining", Item={**key, **texts})


if __name__ == "__main__":
    print(load())
    {"predict": predict, "runs": runs}[sys.argv[1]]()
