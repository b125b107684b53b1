"""The golden set of demand forecasting: trained models pass it, deliberately bad models fail it for the right reason."""

import functools
import hashlib
import itertools
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import aws_cdk as cdk
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError
from examples.retail.demand_forecasting import data, declaration
from examples.retail.demand_forecasting.features import INPUTS
from examples.retail.demand_forecasting.golden import GOLDEN, golden_requests, render
from examples.retail.model_files import train as train_model

from mlops_constructs import BusinessUnit, Profile
from mlops_constructs.rollout.rollout_checks import GoldenRequests, define_golden
from mlops_local.stacks import deployer
from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.serving import GoldenSpec
from mlops_runtime.monitor.counting.capture_lines import read_call
from mlops_runtime.monitor.store import MonitorStore
from mlops_runtime.rollout import golden_rehearsal
from mlops_runtime.rollout.golden_rehearsal import GoldenCaller
from mlops_runtime.rollout.golden_set import read_set
from mlops_runtime.serving.http_app import NonFiniteError, answer
from mlops_runtime.serving.onnx_model import load_directory
from mlops_runtime.serving.request_payload import PayloadError

CONTENT = GOLDEN.read_bytes()
ROUNDS = 2  # instead of five: a model in this process always gives the same answers
COLUMN = {name: index for index, name in enumerate(INPUTS)}
PROMOTION = [COLUMN[name] for name in ("planned_discount", "display_share", "mailer_share")]
REQUESTS = read_set(CONTENT)
NAMES = [request.name for request in REQUESTS]


class Served:
    """A model behind our server's code, with its faults."""

    def __init__(
        self, model, change=lambda rows, predict: predict(rows), signature=lambda s: s, body=None, seconds=0.0
    ):
        self.signature = signature(model.signature)
        self.predict = lambda rows: np.asarray(change(rows, model.predict), dtype=np.float32)
        self.body, self.seconds = body, seconds


class Platform:
    """S3 and InvokeEndpoint in this process, with the interface of boto3."""

    def __init__(self, **endpoints):
        self.endpoints, self.now = endpoints, 0.0

    def get_object(self, **_):
        """Return the golden set."""
        return {"Body": BytesIO(CONTENT)}

    def put_object(self, **_):
        """Take the announcement of calls."""

    def invoke_endpoint(self, *, EndpointName, Body, ContentType, **_):  # noqa: N803 # boto3's names
        """Return the model's response."""
        model = self.endpoints[EndpointName]
        self.now += model.seconds
        try:
            body, kind = answer(model, ContentType, None, Body)
        except (PayloadError, NonFiniteError, RuntimeError) as error:
            status = error.status if isinstance(error, PayloadError) else 500
            answered = {"Error": {"Code": "ModelError", "Message": ""}, "OriginalStatusCode": status}
            raise ClientError({**answered, "OriginalMessage": str(error)}, "InvokeEndpoint") from error
        content = (body, kind) if model.body is None else model.body(body)
        return {"Body": BytesIO(content[0]), "ContentType": content[1], "ResponseMetadata": {}}


def verdict(candidate, live=None, **limits):
    """Return the check's result for a candidate, compared with a live model if given."""
    platform = Platform(new=candidate, live=live)
    caller = GoldenCaller(
        s3=platform, runtime=platform, bucket="artifacts", timer=lambda: platform.now, pause=lambda _: None
    )
    spec = GoldenSpec(uri="s3://assets/golden.jsonl", sha256=hashlib.sha256(CONTENT).hexdigest(), **limits)
    event = {"mode": "check", "endpoint": "new", "golden": to_dict(spec), "live_endpoint": "live" if live else None}
    return caller.handle({**event, "now": "2017-08-01T09:00:00Z", "execution": "arn:execution"})


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch):
    """Keep the checks below one minute in total."""
    monkeypatch.setattr(golden_rehearsal, "ROUNDS", ROUNDS)


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory):
    """Return a function that trains a script on modified weeks of the data, and returns the model's folder."""

    @functools.cache
    def train(script="train.py", weeks=range(9, 27), change=lambda table: table):
        folder = tmp_path_factory.mktemp("trained")
        table = pa.concat_tables([data.series_of(week) for week in weeks])
        pq.write_table(change(table).select(["store_id", "week", "units", *INPUTS]), folder / "part-0.parquet")
        train_model(declaration.TRAINING_CODE / script, folder, folder)
        return folder

    return train


@pytest.fixture(scope="module")
def trained(trained_folder):
    """Return a function that trains and loads the model."""
    return lambda *arguments, **options: load_directory(trained_folder(*arguments, **options))


@pytest.fixture(scope="module")
def good(trained):
    """The model of week 30."""
    return trained()


@pytest.fixture(scope="module")
def planted(good):
    """Return a function that checks a bad model of a kind, without a live model."""
    return functools.cache(lambda kind: verdict(Served(good, **BAD[kind][0]), max_latency_ms=250))


def column(table, name, values):
    """Return a table with one column replaced."""
    return table.set_column(table.column_names.index(name), name, pa.array(values, table[name].type))


def test_the_file_is_what_the_script_writes():
    """The file is generated from the data alone; 12 to 25 requests without a problem."""
    written = golden_requests()
    assert render(written) == CONTENT
    assert [request.name for request in written] == NAMES
    assert 12 <= len(NAMES) <= 25


@pytest.mark.parametrize("last", [26, pytest.param(36, marks=pytest.mark.campaign), 43])
def test_models_that_the_pipeline_would_train_pass(trained, good, last):
    """Models of weeks 30, 40 and 47 pass, the later ones compared with the first as the live model."""
    model = good if last == 26 else trained(weeks=range(9, last + 1))
    found = verdict(Served(model, seconds=0.01), Served(good), max_deviation=0.3, max_latency_ms=250)
    assert found["passed"], found["reason"]
    assert found["calls"] == 2 + ROUNDS * (2 * len(NAMES) + sum(min(r.rows, 32) for r in REQUESTS if r.rows > 1))


def batches(change) -> Callable:
    """Change the results of rows in batches."""
    return lambda rows, predict: change(predict(rows)) if len(rows) > 1 else predict(rows)


def crashes(rows, predict):
    """Fail for large batches."""
    if len(rows) > 100:
        raise RuntimeError("out of memory")
    return predict(rows)


def shuffled(signature):
    """Permute the columns of a model."""
    return replace(signature, inputs=(*signature.inputs[3:], *signature.inputs[:3]))


def renamed(signature):
    """Rename a column of the schema."""
    first, *others = signature.inputs
    return replace(signature, inputs=(replace(first, name="product_category"), *others))


def strict(signature):
    """Reject null columns."""
    return replace(signature, inputs=tuple(replace(column, nullable=False) for column in signature.inputs))


def promoted(factor):
    """Return a change of the results of promoted rows."""
    return lambda rows, predict: predict(rows) * np.where(rows[:, PROMOTION[2]] > 0.5, factor, 1)


LATE = itertools.count()
# the model's faults as arguments of Served, and the failing requests
BAD = {
    "not a number": ({"change": lambda rows, predict: predict(rows) * np.nan}, "small series"),
    "not a number for nulls": (
        {"change": lambda rows, predict: np.where(np.isnan(rows).any(axis=1), np.nan, predict(rows))},
        "no prices",
    ),
    "constant": ({"change": lambda rows, _: np.full(len(rows), 10.0)}, "promotion"),
    "negative": ({"change": lambda rows, predict: -predict(rows)}, "small series"),
    "in dozens": ({"change": lambda rows, predict: predict(rows) / 12}, "small series"),
    "times twelve": ({"change": lambda rows, predict: predict(rows) * 12}, "small series"),
    "logarithm": ({"change": lambda rows, predict: np.log1p(predict(rows))}, "large series"),
    "columns in another order": ({"signature": shuffled}, "typical rows as arrays"),
    "another schema": ({"signature": renamed}, "small series"),
    "no nulls": ({"signature": strict}, "no prices"),
    "promotions too low": ({"change": promoted(0.6)}, "promotion"),
    "promotions ignored": (
        {"change": lambda rows, predict: predict(np.where(np.isin(range(rows.shape[1]), PROMOTION), 0, rows))},
        "promotion",
    ),
    "rows lean on each other": ({"change": batches(lambda answers: answers - answers.mean() + 8)}, "many rows"),
    "rows in another order": ({"change": batches(np.sort)}, "many rows"),
    "rows dropped": ({"change": batches(lambda answers: answers[:-1])}, "many rows"),
    "large batches crash": ({"change": crashes}, "many rows"),
    "crashes late": (
        {"change": lambda rows, predict: predict(rows) if next(LATE) % 200 < 150 else predict(rows) * np.nan},
        "categories",
    ),
    "slow": ({"seconds": 0.3}, "small series"),
    "another content type": ({"body": lambda body: (body, "text/html")}, "small series"),
    "another shape": (
        {"body": lambda body: (body.replace(b"predictions", b"scores"), "application/json")},
        "small series",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_planted_bad_models_fail_where_they_should(planted, kind):
    """They fail without a live model for comparison."""
    found = planted(kind)
    assert not found["passed"]
    assert BAD[kind][1] in found["reason"]


def test_badly_trained_models_fail(trained):
    """Covers the regression that cannot take zeros, and a model trained on labels of other rows."""
    elasticity = verdict(Served(trained("elasticity.py")))
    assert not elasticity["passed"]
    assert "nothing sold last week: the model returned 500" in elasticity["reason"]
    random = np.random.default_rng(7)
    mixed = trained(change=lambda table: column(table, "units", random.permutation(table["units"].to_numpy())))
    assert "promotion 1" in verdict(Served(mixed))["reason"]


FAR = {
    "half": ({"change": lambda rows, predict: predict(rows) * 0.5}, 0.5),
    "times one and a half": ({"change": lambda rows, predict: predict(rows) * 1.5}, 0.5),
    "what sold last": ({"change": lambda rows, _: rows[:, COLUMN["units_lag_1"]]}, 0.3),
}


def test_what_only_the_live_model_tells(good):
    """A wrong level of all rows differs strongly from the live model."""
    for arguments, distance in FAR.values():
        found = verdict(Served(good, **arguments), Served(good), max_deviation=0.3)
        assert "median relative deviation" in found["reason"]
        assert float(found["reason"].rpartition("live model is ")[2].split()[0]) >= distance


UNSEEN = {
    "a tenth too low": {"change": lambda rows, predict: predict(rows) * 0.9},
    "noise of a tenth": {"change": lambda rows, predict: predict(rows) * (1 + 0.1 * np.sin(np.nansum(rows, axis=1)))},
}


@pytest.mark.parametrize("kind", UNSEEN)
def test_what_a_golden_set_cannot_see(good, kind):
    """Only the gate, with thousands of labeled rows, detects a slightly worse model."""
    assert verdict(Served(good, **UNSEEN[kind]), Served(good), max_deviation=0.3)["passed"]


def test_every_request_is_failed_by_something(planted):
    """Every request of the set detects some bad model."""
    reasons = " ".join(planted(kind)["reason"] for kind in BAD)
    assert [name for name in NAMES if f"{name}: " not in reasons] == []
    assert json.loads(CONTENT.splitlines()[0])["name"] == NAMES[0]


ENDPOINT = "golden-forecast"
IMAGE = f"000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:{'0' * 64}"


def deployed(cloud, folder):
    """Deploy a unit with the function; return its name and the golden spec of a serving spec."""
    app = cdk.App(outdir=str(folder / "out"))
    stack = cdk.Stack(app, "golden-requests")
    unit = BusinessUnit(stack, "Unit", name="golden", profile=Profile.DEVELOPMENT)
    spec = GoldenRequests.from_file(GOLDEN, max_latency=cdk.Duration.seconds(10)).bind(unit)
    function = define_golden(stack, "Golden", business_unit=unit, endpoint_name=ENDPOINT, golden=spec)
    cdk.CfnOutput(stack, "Function", value=function.function_name)
    cdk.CfnOutput(stack, "Uri", value=spec.uri)
    cdk.CfnOutput(stack, "Artifacts", value=unit.artifacts.bucket_name)
    app.synth()
    outputs = deployer.deploy(cloud, folder / "out")["golden-requests"]
    return outputs["Function"], to_dict(replace(spec, uri=outputs["Uri"])), outputs["Artifacts"]


def serve(cloud, folder, name, model):
    """Create an endpoint of a trained model, with capture."""
    sagemaker, bucket = cloud.client("sagemaker"), "golden-models"
    with tarfile.open(folder / f"{name}.tar.gz", "w:gz") as tar:
        for file in ("model.onnx", "signature.json"):
            tar.add(model / file, file)
    cloud.client("s3").upload_file(str(folder / f"{name}.tar.gz"), bucket, f"{name}.tar.gz")
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{bucket}/{name}.tar.gz"}
    role = cloud.client("iam").get_role(RoleName="golden-serving")["Role"]["Arn"]
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer=container)
    variant = {"VariantName": "A", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{bucket}/capture",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
    }
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], DataCaptureConfig=capture)
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)


@pytest.mark.cloud
def test_the_deployed_function_checks_a_rehearsal(cloud, wait_for, trained_folder, tmp_path):
    """With IAM enforced: a good model passes, a bad one fails, another endpoint is denied, calls to the live one are announced."""
    s3, sagemaker, functions = (cloud.client(name) for name in ("s3", "sagemaker", "lambda"))
    s3.create_bucket(Bucket="golden-models")
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    cloud.client("iam").create_role(RoleName="golden-serving", AssumeRolePolicyDocument=document)
    rights = [
        {
            "Effect": "Allow",
            "Action": "s3:*",
            "Resource": ["arn:aws:s3:::golden-models", "arn:aws:s3:::golden-models/*"],
        },
        {"Effect": "Allow", "Action": "logs:*", "Resource": "*"},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": rights})
    cloud.client("iam").put_role_policy(RoleName="golden-serving", PolicyName="all", PolicyDocument=policy)
    names = {
        "good": f"{ENDPOINT}-golden-00000001",
        "bad": f"{ENDPOINT}-golden-00000002",
        "other": "other-forecast",
        "live": ENDPOINT,
    }
    models = {"good": trained_folder(), "bad": trained_folder("elasticity.py")}
    for kind, name in names.items():
        serve(cloud, tmp_path, name, models.get(kind, models["good"]))
    function, spec, artifacts = deployed(cloud, tmp_path)
    for name in names.values():
        wait_for(lambda name=name: sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService")

    def ask(kind, **more):
        requested = {"now": cloud.clock()["now"], "execution": "arn:execution"}
        event = {"mode": "check", "endpoint": names[kind], "golden": spec, "live_endpoint": None, **requested, **more}
        answer = functions.invoke(FunctionName=function, Payload=json.dumps(event))
        return json.loads(answer["Payload"].read()), answer.get("FunctionError")

    good, _ = ask("good")
    bad, _ = ask("bad")
    other, failed = ask("other")
    sent, _ = ask("live", mode="traffic", calls=5)

    assert good["passed"], good["reason"]
    assert not bad["passed"]
    assert "nothing sold last week: the model returned 500" in bad["reason"]
    assert failed
    assert other["errorType"] == "GoldenCallError"
    assert "AccessDenied" in other["errorMessage"]
    assert sent == {"calls": 5, "failures": 0}

    def captured():
        objects = s3.list_objects_v2(Bucket="golden-models", Prefix=f"capture/{ENDPOINT}/").get("Contents", [])
        bodies = [s3.get_object(Bucket="golden-models", Key=item["Key"])["Body"].read() for item in objects]
        lines = [line for body in bodies for line in body.splitlines()]
        return lines if len(lines) >= 5 else None

    lines, announced = wait_for(captured), MonitorStore(s3, endpoint=ENDPOINT, artifacts=artifacts).announced()
    assert [read_call(line, None, announced).is_synthetic for line in lines] == [True] * 5
    assert [read_call(line, None).is_unannounced for line in lines] == [True] * 5
