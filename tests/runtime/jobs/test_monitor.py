"""The job on the embedded cloud: real captures, counted, explained and decided like by the functions."""

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import numpy as np
import pytest
import sklearn.metrics as reference
from tests.runtime import explain as package
from tests.runtime import kinds
from tests.runtime.monitor.counting.capture_of_kinds import side_of

from mlops_runtime.contracts import canonical_json, content_hash, from_json, to_dict
from mlops_runtime.contracts.monitor import Baseline, Facet, MonitorState, metric_namespace
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.jobs.evaluate import evaluate
from mlops_runtime.jobs.job_environment import JobError, split_argument
from mlops_runtime.jobs.monitor import Clients, main, parse, run
from mlops_runtime.jobs.monitor_count import count_objects
from mlops_runtime.monitor.counting.baseline import category_baseline, number_baseline
from mlops_runtime.monitor.monitors.attributions import attributions
from mlops_runtime.monitor.scheduled_run import DecideSettings, count_object, decide_window
from mlops_runtime.monitor.spec import MonitorSpec
from mlops_runtime.monitor.store import MonitorStore
from mlops_runtime.rollout.rollout_table import RolloutTable
from mlops_runtime.serving.http_app import answer
from mlops_runtime.serving.onnx_model import load

ENDPOINT = "job-forecast"
ARTIFACTS, CAPTURES, TABLE, BUS = (
    "monitor-job-artifacts",
    "monitor-job-captures",
    "monitor-job-rollout",
    "monitor-job-bus",
)
ACCOUNT, REGISTRY = "000000000000", "000000000000.dkr.ecr.us-east-1.amazonaws.com"
DIGEST = "@sha256:" + "0" * 64
STORES = ("north", "south, old", "east")
SINCE = "2000-01-01T00:00:00Z"
SETTINGS = DecideSettings(
    endpoint=ENDPOINT,
    variant="AllTraffic",
    unit="demand",
    bus=BUS,
    window_hours=24,
    spec=MonitorSpec(merge_hours=0),
)
ROWS, CALLS = 4, 60


class Job:
    """The cloud with a called endpoint, and the monitor's inputs."""

    def __init__(self, cloud: Any) -> None:
        """Create buckets, table and bus."""
        self.cloud = cloud
        self.s3, self.sagemaker = cloud.client("s3"), cloud.client("sagemaker")
        for bucket in (ARTIFACTS, CAPTURES):
            self.s3.create_bucket(Bucket=bucket)
        self.dynamodb = cloud.client("dynamodb")
        self.dynamodb.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "endpoint", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "endpoint", "KeyType": "HASH"}],
        )
        cloud.client("events").create_event_bus(Name=BUS)
        self.now = datetime(2000, 1, 1, tzinfo=UTC)

    def role(self, name: str, statements: list[dict[str, Any]]) -> str:
        """Create a role for SageMaker."""
        trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        iam = self.cloud.client("iam")
        arn = iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )
        policy = json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **each} for each in statements]}
        )
        iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=policy)
        return str(arn["Role"]["Arn"])

    def serve(self, archive: bytes) -> None:
        """Serve a model by our own server with capture."""
        self.s3.put_object(Bucket=ARTIFACTS, Key="models/model.tar.gz", Body=archive)
        everything = [{"Action": "s3:*", "Resource": "*"}]
        role = self.role("monitor-job-endpoint", everything)
        container = {
            "Image": f"{REGISTRY}/mlops-runtime{DIGEST}",
            "ModelDataUrl": f"s3://{ARTIFACTS}/models/model.tar.gz",
        }
        self.sagemaker.create_model(ModelName=ENDPOINT, ExecutionRoleArn=role, PrimaryContainer=container)
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": ENDPOINT,
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
        }
        capture = {
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": f"s3://{CAPTURES}/capture",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
        }
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=ENDPOINT, ProductionVariants=[variant], DataCaptureConfig=capture
        )
        self.sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName=ENDPOINT)
        self.wait(lambda: self.sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointStatus"] == "InService")

    def call(self) -> None:
        """Call it alternately with CSV and JSON, and wait for the captures."""
        chance, runtime = random.Random(2), self.cloud.client("sagemaker-runtime")
        for i in range(CALLS):
            rows = [[chance.gauss(20, 2), chance.gauss(5, 1), chance.choice(STORES)] for _ in range(ROWS)]
            text = "\n".join(f'{price!r},{stock!r},"{store}"' for price, stock, store in rows)
            kind, body = ("text/csv", text) if i % 2 else ("application/json", json.dumps({"instances": rows}))
            runtime.invoke_endpoint(EndpointName=ENDPOINT, ContentType=kind, Body=body)
        self.wait(lambda: sum(len(body.splitlines()) for body in self.captures().values()) == CALLS)
        newest = max(key.split("/")[3:7] for key in self.captures())
        self.now = datetime(*map(int, newest), tzinfo=UTC) + timedelta(hours=1, minutes=15)

    def captures(self) -> dict[str, bytes]:
        """Return the captures by key."""
        return self.objects(CAPTURES, f"capture/{ENDPOINT}/")

    def objects(self, bucket: str, prefix: str) -> dict[str, bytes]:
        """Return the objects below a prefix, by key."""
        found = self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        return {each["Key"]: self.s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in found}

    def counts(self) -> dict[str, bytes]:
        """Return the counts objects."""
        return self.objects(ARTIFACTS, f"monitor/{ENDPOINT}/counts/")

    def report(self) -> MonitorReport:
        """Return the written report."""
        key = f"monitor/{ENDPOINT}/reports/{self.now:%Y-%m-%dT%H}/report.json"
        return from_json(MonitorReport, self.s3.get_object(Bucket=ARTIFACTS, Key=key)["Body"].read())

    def forget(self) -> None:
        """Remove the monitor's output."""
        for key in self.objects(ARTIFACTS, f"monitor/{ENDPOINT}/"):
            self.s3.delete_object(Bucket=ARTIFACTS, Key=key)

    def arguments(self, *more: str) -> list[str]:
        """Return the job's arguments as its starter passes them."""
        pieces = split_argument(json.dumps(to_dict(SETTINGS), separators=(",", ":")))
        places = ["--artifacts", ARTIFACTS, "--captures", CAPTURES, "--table", TABLE]
        return ["--settings", *pieces, *places, "--now", f"{self.now:%Y-%m-%dT%H:%M:%SZ}", *more]

    def clients(self) -> Clients:
        """Return clients of the account's root."""
        return Clients(**{name: self.cloud.client(name) for name in ("s3", "dynamodb", "cloudwatch", "events")})

    def log(self, name: str) -> str:
        """Return the log of a processing job."""
        logs, group = self.cloud.client("logs"), "/aws/sagemaker/ProcessingJobs"
        streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]
        found = [logs.get_log_events(logGroupName=group, logStreamName=each["logStreamName"]) for each in streams]
        return "\n".join(event["message"] for part in found for event in part["events"])

    def wait(self, look: Any, seconds: float = 180.0) -> Any:
        """Wait until a result is true."""
        end = time.monotonic() + seconds
        while not (seen := look()):
            assert time.monotonic() < end, f"nothing within {seconds} s"
            time.sleep(0.1)
        return seen


@pytest.fixture(scope="module")
def job(cloud, models, tmp_path_factory) -> Job:
    """Return an endpoint with a baseline and calls like in training."""
    made = Job(cloud)
    archive = models.archive(tmp_path_factory.mktemp("model") / "model.tar.gz")
    model = load(models.onnx(), models.signature_json())
    chance = np.random.default_rng(4)
    price, stock = (chance.normal(mean, sd, 2000).astype(np.float32) for mean, sd in ((20, 2), (5, 1)))
    store = chance.integers(0, 3, 2000)
    rows = np.stack([price, stock, store], axis=1).astype(np.float32)
    baseline = Baseline(
        features=(
            number_baseline("price", price),
            number_baseline("stock", stock),
            category_baseline("store", [STORES[code] for code in store]),
        ),
        rows=2000,
        training_set_id="set-1",
        created="2000-01-01T00:00:00Z",
        prediction=number_baseline("prediction", model.predict(rows)),
        quality={"wape": 0.1, "bias": 0.0},
    )
    package.require()
    baseline = replace(baseline, attributions=attributions(model, baseline, rows[:60]))
    made.s3.put_object(Bucket=ARTIFACTS, Key=f"evaluations/{ENDPOINT}/1/baseline.json", Body=canonical_json(baseline))
    live = LivePointer(
        endpoint=ENDPOINT, config=ENDPOINT, model=ENDPOINT, model_package_arn="arn:p/1", model_sha256=model.sha256,
        artifact_uri=f"s3://{ARTIFACTS}/models/model.tar.gz", baseline_uri=f"s3://{ARTIFACTS}/evaluations/{ENDPOINT}/1/baseline.json",
        baseline_sha256=content_hash(baseline), evaluation_uri="s3://e", training_set_id="set-1", spec_sha256="x",
        spec_uri="s3://x", execution="arn:e", since=SINCE, artifact_sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
        container_sha256="c" * 64,
    )  # fmt: skip
    made.dynamodb.put_item(
        TableName=TABLE, Item={"endpoint": {"S": ENDPOINT}, "live": {"S": canonical_json(live).decode()}}
    )
    made.serve(archive.read_bytes())
    made.call()
    return made


def needed() -> list[dict[str, Any]]:
    """Return the minimal permissions of the job's role."""
    captures, artifacts = f"arn:aws:s3:::{CAPTURES}", f"arn:aws:s3:::{ARTIFACTS}"
    monitor = f"{artifacts}/monitor/{ENDPOINT}"
    return [
        {
            "Action": "s3:GetObject",
            "Resource": [
                f"{captures}/capture/{ENDPOINT}/*",
                f"{captures}/labels/{ENDPOINT}/*",
                f"{artifacts}/evaluations/{ENDPOINT}/*",
                f"{artifacts}/models/*",
                f"{monitor}/*",
            ],
        },
        {"Action": "s3:PutObject", "Resource": f"{monitor}/*"},
        {"Action": "s3:ListBucket", "Resource": [captures, artifacts]},
        {"Action": "dynamodb:GetItem", "Resource": f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{TABLE}"},
        {"Action": "cloudwatch:GetMetricData", "Resource": "*"},
        {
            "Action": "cloudwatch:PutMetricData",
            "Resource": "*",
            "Condition": {"StringEquals": {"cloudwatch:namespace": metric_namespace(SETTINGS.unit)}},
        },
        {"Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], "Resource": "*"},
        {"Action": "events:PutEvents", "Resource": f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/{BUS}"},
    ]


@pytest.mark.cloud
def test_the_job_counts_explains_and_decides_as_the_functions_do(job):
    """After the explaining image's job, the functions' code gives the same bytes and report from the same captures."""
    home = package.require()
    request = {
        "ProcessingJobName": "monitor-job",
        "AppSpecification": {
            "ImageUri": f"{REGISTRY}/mlops-explain{DIGEST}",
            "ContainerEntrypoint": ["python", "-m", "mlops_runtime.jobs.monitor"],
            "ContainerArguments": job.arguments("--attribution-rows", "60"),
        },
        # the image contains shap, this machine has it next to the packages
        "Environment": {"PYTHONPATH": str(home)},
        "RoleArn": job.role("monitor-job", needed()),
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 30}
        },
    }
    job.sagemaker.create_processing_job(**request)
    ended = job.wait(lambda: _ended(job, "monitor-job"))
    assert ended["ProcessingJobStatus"] == "Completed", job.log("monitor-job")
    found, counted = job.report(), job.counts()
    assert found.engine == "PROCESSING"
    assert (found.drift.state, found.rows) == (MonitorState.OK, ROWS * CALLS)
    assert (found.explainability.state, found.explainability.ndcg) == (MonitorState.OK, pytest.approx(1.0))
    attributed = found.explainability.attributions
    assert max(attributed, key=attributed.get) == "store"
    assert ended["ExitMessage"] == found.verdict
    reported = job.cloud.client("cloudwatch").list_metrics(Namespace=metric_namespace(SETTINGS.unit))["Metrics"]
    assert {"SampleCount", "FeaturesDrifted", "UnannouncedCalls", "Ndcg"} <= {
        metric["MetricName"] for metric in reported
    }
    assert '"_aws"' not in job.log("monitor-job")  # the log group of all jobs may have a class without embedded metrics
    # a second run has nothing left to count
    read, failed = run(parse(job.arguments()), lambda *_: pytest.fail("counted again"), job.clients())
    assert (read.rows, failed) == (ROWS * CALLS, {})
    job.forget()
    store = MonitorStore(job.s3, endpoint=ENDPOINT, artifacts=ARTIFACTS, captures=CAPTURES)
    table = RolloutTable(job.dynamodb, TABLE, ENDPOINT)
    for key in job.captures():
        event = {"detail": {"bucket": {"name": CAPTURES}, "object": {"key": key}}}
        count_object(json.dumps(event), store, table)
    assert job.counts() == counted
    clients = job.clients()
    by_functions = decide_window(
        job.now, SETTINGS, store=store, table=table, cloudwatch=clients.cloudwatch, events=clients.events
    )
    explained = ("explainability", "engine", "metrics")
    assert by_functions.metrics == tuple(v for v in found.metrics or () if v.monitor != "explainability")
    assert by_functions == replace(found, **{name: getattr(by_functions, name) for name in explained})


def _ended(job: Job, name: str) -> dict[str, Any] | None:
    described = job.sagemaker.describe_processing_job(ProcessingJobName=name)
    return described if described["ProcessingJobStatus"] not in ("InProgress", "Stopping") else None


@pytest.mark.cloud
def test_an_object_that_cannot_be_counted_fails_the_job_after_the_decision(job, monkeypatch, tmp_path, capsys):
    """The rest is decided, the exit code is 1, and the message is the verdict with the object."""
    for name, value in {**job.cloud.environment(), "MLOPS_OPT_ML": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    job.forget()
    gone = f"capture/{ENDPOINT}/AllTraffic/{job.now - timedelta(hours=1):%Y/%m/%d/%H}/gone.jsonl"
    count = lambda sizes, settings: count_objects({**sizes, gone: 10}, settings, processes=1)  # noqa: E731
    assert main(job.arguments(), count) == 1
    error = capsys.readouterr().err
    assert f"mlops monitor: {gone} is not counted: NoSuchKey" in error
    assert (tmp_path / "output" / "message").read_text() == job.report().verdict
    assert job.report().rows == ROWS * CALLS


@pytest.mark.cloud
def test_a_baseline_that_was_changed_is_told_and_nothing_is_counted(job):
    """Counts against it would not be of the approved baseline."""
    job.forget()
    key = f"evaluations/{ENDPOINT}/1/baseline.json"
    body = job.s3.get_object(Bucket=ARTIFACTS, Key=key)["Body"].read()
    job.s3.put_object(Bucket=ARTIFACTS, Key=key, Body=body.replace(b'"rows":2000', b'"rows":2001'))
    try:
        options = parse(job.arguments("--attribution-rows", "60"))
        report, failed = run(options, lambda *_: pytest.fail("counted"), job.clients())
    finally:
        job.s3.put_object(Bucket=ARTIFACTS, Key=key, Body=body)
    assert "was changed" in report.baseline_flaw
    assert report.drift.state not in (MonitorState.OK, MonitorState.INSUFFICIENT_DATA)
    assert (failed, job.counts(), report.explainability) == ({}, {}, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"--now": "2017-08-08"},
            "--now must be an ISO 8601 time with a zone, such as 2017-08-08T06:00:00Z, got '2017-08-08'",
        ),
        ({"--now": "today"}, "got 'today'"),
        ({"--attribution-rows": "-1"}, "--attribution-rows must be 0 or more, got -1"),
        ({"--settings": "{}"}, "not a valid DecideSettings: $.endpoint is missing"),
    ],
)
def test_fails_for_arguments_that_are_not_possible(changes, message, capsys, monkeypatch):
    """One line has value and format."""
    given = {"--settings": json.dumps(to_dict(SETTINGS)), "--artifacts": "a", "--captures": "c", "--table": "t"}
    given |= {"--now": "2017-08-08T06:00:00Z", **changes}
    with pytest.raises((JobError, ValueError)) as caught:
        parse([part for pair in given.items() for part in pair])
    assert message in str(caught.value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert main([part for pair in given.items() for part in pair]) == 1
    assert capsys.readouterr().err.startswith("mlops monitor: ")


def test_nothing_is_asked_of_a_new_account(monkeypatch):
    """Settings are read before any client is created."""
    made = []
    monkeypatch.setattr(boto3, "client", lambda name, **_: made.append(name))
    assert main(["--settings", "{}", "--artifacts", "a", "--captures", "c", "--table", "t", "--now", "x"]) == 1
    assert made == []


PLACES = {
    "classes": ("kinds-wines", kinds.PLANS["classes"], "recall/barbera"),
    "numbers": ("kinds-men", kinds.PLANS["numbers"], "wape/waist"),
}
_FACET = Facet(name="alcohol", threshold=13.0)


@pytest.fixture
def watched(cloud: Any, tmp_path: Any, request: Any) -> Any:
    """Return a function that captures and labels an hour of calls of a kind and runs the job over it."""
    kind = request.param
    endpoint, plan, limited = PLACES[kind]
    s3, dynamodb = cloud.client("s3"), cloud.client("dynamodb")
    bucket, table, bus = f"{endpoint}-bucket", f"{endpoint}-table", f"{endpoint}-bus"
    s3.create_bucket(Bucket=bucket)
    cloud.client("events").create_event_bus(Name=bus)
    dynamodb.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "endpoint", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "endpoint", "KeyType": "HASH"}],
    )
    if kind == "classes":
        plan = replace(plan, facets=(_FACET,), positive_class="barolo", segments=None)
    evaluation, baseline = evaluate(plan, kinds.evaluation_inputs(tmp_path, kind), kinds.URI)
    s3.put_object(Bucket=bucket, Key="evaluations/baseline.json", Body=canonical_json(baseline))
    live = LivePointer(
        endpoint=endpoint, config="c", model="m", model_package_arn="arn:p/1", model_sha256=evaluation.model_sha256,
        artifact_uri="s3://a", baseline_uri=f"s3://{bucket}/evaluations/baseline.json", baseline_sha256=content_hash(baseline),
        evaluation_uri="s3://e", training_set_id=baseline.training_set_id, spec_sha256="x", spec_uri="s3://x",
        execution="arn:e", since=SINCE,
        artifact_sha256="a" * 64, container_sha256="c" * 64,
    )  # fmt: skip
    dynamodb.put_item(TableName=table, Item={"endpoint": {"S": endpoint}, "live": {"S": canonical_json(live).decode()}})
    spec = MonitorSpec(merge_hours=0, minimum_labels=50, minimum_rows=50, quality_limits={limited: 0.5})
    settings = DecideSettings(
        endpoint=endpoint, variant="AllTraffic", unit="demand", bus=bus, window_hours=1, spec=spec
    )
    model = load(*kinds.files(kind))

    def run_hour(rows: Any, labels: list[str], hour: datetime) -> MonitorReport:
        """Answer rows singly like the server, capture and label them, and run the job after the hour."""
        records, truths = [], []
        for index, (row, label) in enumerate(zip(rows.tolist(), labels, strict=True)):
            body = json.dumps({"instances": [row]})
            content, content_type = answer(model, "application/json", None, body.encode())
            sides = {
                "endpointInput": side_of("application/json", "INPUT", body),
                "endpointOutput": side_of(content_type, "OUTPUT", content.decode()),
            }
            identity = {"eventId": f"{hour:%H}-{index}", "inferenceTime": f"{hour:%Y-%m-%dT%H}:05:00Z"}
            records.append({"captureData": sides, "eventMetadata": identity, "eventVersion": "0"})
            truth = {
                "groundTruthData": {"data": label, "encoding": "CSV"},
                "eventMetadata": identity,
                "eventVersion": "0",
            }
            truths.append(truth)
        for prefix, lines in ((f"capture/{endpoint}/AllTraffic", records), (f"labels/{endpoint}", truths)):
            text = "\n".join(map(json.dumps, lines))
            s3.put_object(Bucket=bucket, Key=f"{prefix}/{hour:%Y/%m/%d/%H}/a.jsonl", Body=text.encode())
        now = hour + timedelta(hours=1, minutes=15)
        pieces = split_argument(json.dumps(to_dict(settings), separators=(",", ":")))
        command = [sys.executable, "-m", "mlops_runtime.jobs.monitor", "--settings", *pieces]
        command += ["--artifacts", bucket, "--captures", bucket, "--table", table, "--now", f"{now:%Y-%m-%dT%H:%M:%SZ}"]
        environment = {**os.environ, **cloud.environment(), "MLOPS_OPT_ML": str(tmp_path)}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        key = f"monitor/{endpoint}/reports/{now:%Y-%m-%dT%H}/report.json"
        return from_json(MonitorReport, s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    return run_hour


@pytest.mark.cloud
@pytest.mark.parametrize("watched", ["classes"], indirect=True)
def test_the_job_watches_three_classes(watched: Any) -> None:
    """Confusion and recalls are scikit-learn's; drifted labels and a window of one cultivar are reported."""
    table = kinds.wine()
    rows, labels = kinds.matrix(table, kinds.wine_inputs()), table.column("cultivar").to_pylist()
    predicted = [kinds.CULTIVARS[code] for code in kinds.classifier().predict(rows)]
    report = watched(rows, labels, datetime(2017, 8, 7, 10, tzinfo=UTC))
    quality = {metric.name: metric for metric in report.quality.metrics}
    expected = reference.confusion_matrix(labels, predicted, labels=kinds.CULTIVARS).tolist()
    assert [list(line) for line in report.quality.confusion or ()] == expected
    assert report.quality.classes == kinds.CULTIVARS
    recalls = reference.recall_score(labels, predicted, average=None, labels=kinds.CULTIVARS)
    assert [quality[f"recall/{name}"].value for name in kinds.CULTIVARS] == pytest.approx(recalls)
    assert (quality["recall/barbera"].limit, quality["recall/barbera"].violated) == (0.5, False)
    assert report.quality.state is MonitorState.OK, report.verdict
    assert report.problems is None
    published = {value.name for value in report.metrics if value.monitor == "quality"}
    assert {"MacroLogLoss", "MacroRecall", "Recall/barbera", "QualityViolations"} <= published
    assert report.bias is not None
    assert {each.metric.name for each in report.bias.metrics} >= {"DPPL", "DPL"}
    turned = [kinds.CULTIVARS[(kinds.CULTIVARS.index(name) + 1) % 3] for name in labels]
    worse = watched(rows, turned, datetime(2017, 8, 7, 11, tzinfo=UTC))
    assert worse.quality.state is MonitorState.VIOLATION
    ratio = {value.name: value.value for value in worse.metrics if value.monitor == "quality"}
    assert ratio["WapeRatio"] > ratio["WapeRatioLow"] > 1.25  # the Quality alarm requests a retraining
    assert {m.name for m in worse.quality.metrics if m.violated} == {"macro_log_loss", "recall/barbera"}
    only = [index for index, name in enumerate(predicted) if name == "barolo"]
    moved = watched(rows[only], [labels[index] for index in only], datetime(2017, 8, 7, 12, tzinfo=UTC))
    drift = {feature.name: feature for feature in moved.drift.features}
    assert drift["prediction"].drifted
    assert "quality: macro_log_loss has a limit and is undefined: no label is barbera" in " ".join(
        moved.quality.problems or ()
    )


@pytest.mark.cloud
@pytest.mark.parametrize("watched", ["numbers"], indirect=True)
def test_the_job_watches_two_outputs(watched: Any) -> None:
    """Errors of each output are scikit-learn's; a label with one number is unreadable; a drifted output is named."""
    table = kinds.men()
    rows, labels = kinds.matrix(table, kinds.MEN_INPUTS), kinds.matrix(table, kinds.MEASURES)
    predicted = kinds.regressor().predict(rows)
    texts = [",".join(map(str, row)) for row in labels.tolist()]
    report = watched(rows, [*texts[:-1], "81.5"], datetime(2017, 8, 7, 10, tzinfo=UTC))
    quality = {metric.name: metric for metric in report.quality.metrics}
    for place, name in enumerate(kinds.MEASURES):
        expected = reference.mean_absolute_error(labels[:-1, place], predicted[:-1, place])
        assert quality[f"mae/{name}"].value == pytest.approx(expected, rel=1e-4)
    together = np.mean([quality[f"wape/{name}"].value for name in kinds.MEASURES])
    assert quality["wape"].value == pytest.approx(together)
    assert report.quality.values["wape_ratio"] == pytest.approx(together / report.quality.holdout["wape"])
    assert report.quality.problems == {"label does not have a number for each output": 1}
    assert {feature.name for feature in report.drift.features} >= {"prediction/weight", "prediction/waist"}
    assert report.quality.state is MonitorState.OK, report.verdict
    shifted = rows + np.array([0, 120, 0], dtype=np.float32)  # more sit-ups predict a smaller waist
    moved = watched(shifted, texts, datetime(2017, 8, 7, 11, tzinfo=UTC))
    drift = {feature.name: feature for feature in moved.drift.features}
    assert drift["prediction/waist"].drifted
    assert moved.quality.state is MonitorState.VIOLATION
