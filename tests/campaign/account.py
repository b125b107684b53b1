"""An AWS account in memory for the Deploy and Retrain machines: real functions; SageMaker, S3 and CloudWatch are dicts.

The scenario decides the result of a SageMaker update: it ends after its bakes with the new config, with the old
one (an alarm rolled it back), or fails. DynamoDB is moto's, so lock and chain use real conditional writes.
"""

import base64
import copy
import functools
import hashlib
import io
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.exceptions import ClientError
from tests.signing import SigningKms

from mlops_runtime.registry.model_package import registered_metadata
from mlops_runtime.registry.package_approval import approval_description

ENDPOINT, GROUP = "demand-forecast", "demand-forecast"
OLD = "demand-forecast-11111111"
ACCOUNT, REGION = "123456789012", "us-east-1"
KMS = SigningKms()
DURATION = 95.0  # seconds of a change: a few polls; more would only repeat them
START = 1_501_578_000.0  # 2017-08-01T09:00:00Z
GOLDEN = b'{"name": "typical", "body": "{\\"instances\\": [1]}", "rows": 1, "content_type": "application/json", "minimum": 0}\n'
ANSWER = '{"predictions": [1.0]}'
_HOURS = 8  # of captures, beginning one hour before the start


class CallError(Exception):
    """An error that an integration returns instead of a result, with its name in a state machine."""

    def __init__(self, name: str, cause: str = "") -> None:
        super().__init__(name)
        self.name, self.cause = name, cause


@dataclass
class Endpoint:
    """One endpoint: its current state, and the change in progress with its end time."""

    config: str
    status: str = "InService"
    target: str | None = None
    ends_with: str | None = None
    until: float = 0.0
    started: float = 0.0


@dataclass
class Account:
    """The simulated account.

    Args:
        update: How an update ends: ``new``, ``old`` (rolled back by an alarm), ``back`` (the same, with the rollback
            visible while it runs) or ``failed``.
        create: How a creation ends: ``new`` or ``failed``.
        invocations: Number of calls to the new fleet.
        golden: The candidate's responses to golden requests before it gets traffic, and afterwards.
        bodies: Body of captured responses since the start, of the production variant and of a shadow.
        serves: Whether an endpoint serves at the start.
        duration: Seconds that a change takes.
        on_probation: Whether the model that serves at the start is on probation, with its alarm in ALARM and its schedule enabled.
        traffic: Value of a `MetricStat` in the minute that begins at a time. Default: ``invocations`` successful
            calls of each fleet in the minute before.
    """

    update: str = "new"
    create: str = "new"
    invocations: int = 100
    golden: tuple[float, float] = (1.0, 1.0)
    bodies: tuple[str, str] = (ANSWER, ANSWER)
    serves: bool = True
    on_probation: bool = False
    duration: float = DURATION
    traffic: Callable[[dict[str, Any], datetime], float | None] | None = None
    now: float = START
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    tags: dict[str, dict[str, Any]] = field(default_factory=dict)
    packages: dict[str, dict[str, Any]] = field(default_factory=dict)
    alarms: dict[str, dict[str, Any]] = field(default_factory=dict)
    rules: dict[str, bool] = field(default_factory=dict)
    started: list[dict[str, Any]] = field(default_factory=list)
    announced: list[str] = field(default_factory=list)
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    scaling: dict[str, dict[str, Any]] = field(default_factory=dict)
    objects: dict[tuple[str, str], bytes] = field(default_factory=dict)
    functions: dict[str, Callable[[dict[str, Any], object], Any]] = field(default_factory=dict)
    jobs: list[str] = field(default_factory=list)
    served: list[str] = field(default_factory=list)

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Execute one integration, named as in a definition without its partition."""
        service, _, action = name.partition(":")
        if service == "lambda":
            function = arguments["FunctionName"].rpartition(":")[2]
            return {"Payload": self.functions[function](copy.deepcopy(arguments["Payload"]), Context())}
        if service == "dynamodb":
            return _dynamodb(action, arguments)
        if service == "events":
            self.announced += [str(entry["Detail"]) for entry in arguments["Entries"]]
            return {"FailedEntryCount": 0}
        if service == "sns":
            return {}
        if action.endswith(".sync"):
            return self._job(arguments)
        handler: Callable[..., Any] | None = getattr(self, f"_{service}_{action}", None)
        if handler is None:
            raise AssertionError(f"the account of the campaign does not know {name}; teach it")
        try:
            return handler(arguments)
        except ClientError as error:
            cause = f"{error.response['Error']['Message']} (Service: SageMaker, Status Code: 400)"
            raise CallError("SageMaker.SageMakerException", cause) from error

    def client(self, service: str, **_: Any) -> Any:
        """Return the functions' replacement of ``boto3.client``."""
        if service == "kms":
            return KMS
        return boto3_dynamodb() if service == "dynamodb" else _Client(self, service)

    def settle(self) -> None:
        """Complete every change whose time has come."""
        for endpoint in self.endpoints.values():
            if endpoint.target is not None and self.now >= endpoint.until:
                failed = endpoint.ends_with == "failed"
                if not failed:
                    endpoint.config = endpoint.target if endpoint.ends_with == "new" else endpoint.config
                endpoint.status = "Failed" if failed else "InService"
                endpoint.target = None
            if endpoint.status == "InService":
                self.served.append(endpoint.config)

    def package(self, version: int, *, approval: str = "Approved") -> str:
        """Register a package, approved by the approver, and return its ARN."""
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/{GROUP}/{version}"
        self.packages[arn] = {
            "ModelPackageArn": arn,
            "ModelPackageGroupName": GROUP,
            "ModelPackageVersion": version,
            "ModelPackageStatus": "Completed",
            "ModelApprovalStatus": approval,
            "CreationTime": datetime.fromtimestamp(self.now, UTC),
            "LastModifiedTime": datetime.fromtimestamp(self.now, UTC),
            "LastModifiedBy": {"IamIdentity": {"Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/Approver/ann"}},
            "InferenceSpecification": {
                "Containers": [
                    {
                        "Image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mlops-runtime@sha256:{'1' * 64}",
                        "ModelDataUrl": f"s3://artifacts/models/{version}/model.tar.gz",
                        "Environment": {"MLOPS_MODEL_SHA256": f"{version:064x}"},
                    }
                ],
                "SupportedContentTypes": ["application/json"],
            },
            "CustomerMetadataProperties": {
                "artifact_sha256": "a" * 64,
                "model_sha256": f"{version:064x}",
                "training_set_id": "c" * 64,
                "execution": "arn:aws:states:us-east-1:123456789012:execution:Retrain:one",
                "baseline_uri": "s3://artifacts/baseline.json",
                "baseline_sha256": "8" * 64,
                "evaluation_uri": "s3://artifacts/evaluation.json",
            },
        }
        made = self.packages[arn]
        container, metadata = made["InferenceSpecification"]["Containers"][0], made["CustomerMetadataProperties"]
        made["CustomerMetadataProperties"] = bound = registered_metadata(container, metadata)
        made["ApprovalDescription"] = approval_description("good", bound=bound["container_sha256"])
        return arn

    def version(self, name: str, package: str) -> None:
        """Create model and config of one name, as left by an earlier rollout."""
        tags = [{"Key": "mlops:endpoint", "Value": ENDPOINT}]
        self.models[name] = {"ModelName": name, "Containers": [{"ModelPackageName": package}], "Tags": tags}
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": name,
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 2,
        }
        self.configs[name] = {"EndpointConfigName": name, "ProductionVariants": [variant], "Tags": tags}

    def scale(self, requests: Mapping[str, Sequence[Any]]) -> None:
        """Give the endpoint scaling, as set by an earlier rollout."""
        for target in requests["targets"]:
            self._applicationautoscaling_registerScalableTarget(target)
        for policy in [*requests["policies"], *(wake["policy"] for wake in requests["wake"])]:
            self._applicationautoscaling_putScalingPolicy(policy)
        for wake in requests["wake"]:
            self._cloudwatch_putMetricAlarm(wake["alarm"])
        for schedule in requests["schedules"]:
            self._applicationautoscaling_putScheduledAction(schedule)

    def capture(self, *variants: str) -> None:
        """Capture one call per minute for both variants, with the same requests; those since the start have `bodies`."""
        for (variant, body), hour in itertools.product(zip(variants, self.bodies, strict=True), range(-1, _HOURS)):
            first = datetime.fromtimestamp(START, UTC) + timedelta(hours=hour)
            key = f"capture/{ENDPOINT}/{variant}/{first:%Y/%m/%d/%H}/calls.jsonl"
            self.objects[("capture", key)] = _captured(variant, ANSWER if hour < 0 else body, hour)

    # SageMaker

    def _sagemakerruntime_invokeEndpoint(self, request: dict[str, Any]) -> Any:  # noqa: N802 - the integration's own name
        """Golden requests: the live model returns 1, the candidate the scenario's value."""
        endpoint = self._endpoint(ENDPOINT) if ENDPOINT in self.endpoints else None
        before, again = self.golden
        is_new = endpoint is not None and (endpoint.config != OLD or endpoint.target is not None)
        number = before if request["EndpointName"] != ENDPOINT else again if is_new else 1.0
        body = json.dumps({"predictions": [number]}).encode()
        return {"Body": io.BytesIO(body), "ContentType": "application/json", "ResponseMetadata": {"RetryAttempts": 0}}

    def _sagemaker_createModel(self, request: dict[str, Any]) -> Any:  # noqa: N802 - the integration's own name
        return self._create(self.models, request["ModelName"], request, "model")

    def _sagemaker_createEndpointConfig(self, request: dict[str, Any]) -> Any:  # noqa: N802
        for variant in request["ProductionVariants"]:
            self._find(self.models, variant["ModelName"], "model")
        return self._create(self.configs, request["EndpointConfigName"], request, "endpoint configuration")

    def _sagemaker_createEndpoint(self, request: dict[str, Any]) -> Any:  # noqa: N802
        name, config = request["EndpointName"], request["EndpointConfigName"]
        self._find(self.configs, config, "endpoint configuration")
        if name in self.endpoints:
            raise _error(f"Cannot create already existing endpoint {name}.")
        until = self.now + self.duration
        self.endpoints[name] = Endpoint(config, "Creating", config, self.create, until, self.now)
        self.tags[name] = {"Tags": request.get("Tags", [])}
        return {"EndpointArn": name}

    def _sagemaker_updateEndpoint(self, request: dict[str, Any]) -> Any:  # noqa: N802
        endpoint = self._endpoint(request["EndpointName"])
        self._find(self.configs, request["EndpointConfigName"], "endpoint configuration")
        if endpoint.status != "InService":
            raise _error(f"Cannot update in-progress endpoint {request['EndpointName']}.")
        guarded = "AutoRollbackConfiguration" in request.get("DeploymentConfig", {})
        endpoint.target = request["EndpointConfigName"]
        # scenarios are not about a change without alarms (a rollback)
        endpoint.ends_with = self.update if guarded else "new"
        endpoint.status, endpoint.started = "Updating", self.now
        endpoint.until = self.now + self.duration
        return {"EndpointArn": request["EndpointName"]}

    def _sagemaker_describeEndpoint(self, request: dict[str, Any]) -> Any:  # noqa: N802
        endpoint = self._endpoint(request["EndpointName"])
        answer = {
            "EndpointName": request["EndpointName"],
            "EndpointArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/{request['EndpointName']}",
            "EndpointStatus": endpoint.status,
            "EndpointConfigName": endpoint.config,
            "ProductionVariants": [{"VariantName": "AllTraffic", "CurrentInstanceCount": 2}],
        }
        if endpoint.status != "Updating":
            return answer
        is_alone = self.now - endpoint.started > self.duration / 2
        if is_alone and endpoint.ends_with == "back":
            answer["EndpointStatus"] = "RollingBack"
            for name in [name for name in self.alarms if "-rollout-" in name][:1]:
                self.alarms[name]["StateValue"] = "ALARM"
        variants = [{"VariantName": "AllTraffic", "VariantStatus": [_BAKING]}] if is_alone else []
        return answer | {"PendingDeploymentSummary": {"ProductionVariants": variants}}

    def _sagemaker_describeEndpointConfig(self, request: dict[str, Any]) -> Any:  # noqa: N802
        return self._find(self.configs, request["EndpointConfigName"], "endpoint configuration")

    def _sagemaker_describeModel(self, request: dict[str, Any]) -> Any:  # noqa: N802
        return self._find(self.models, request["ModelName"], "model")

    def _sagemaker_describeModelPackage(self, request: dict[str, Any]) -> Any:  # noqa: N802
        return self._find(self.packages, request["ModelPackageName"], "model package")

    def _sagemaker_deleteEndpoint(self, request: dict[str, Any]) -> Any:  # noqa: N802
        self._endpoint(request["EndpointName"])
        del self.endpoints[request["EndpointName"]]
        return {}

    def _sagemaker_deleteEndpointConfig(self, request: dict[str, Any]) -> Any:  # noqa: N802
        name = request["EndpointConfigName"]
        self._find(self.configs, name, "endpoint configuration")
        users = [e for e in self.endpoints.values() if name in (e.config, e.target)]
        assert not users, f"{name} is in use: an endpoint without its config can never be updated again"
        del self.configs[name]
        return {}

    def _sagemaker_deleteModel(self, request: dict[str, Any]) -> Any:  # noqa: N802
        self._find(self.models, request["ModelName"], "model")
        del self.models[request["ModelName"]]
        return {}

    def _sagemaker_listEndpointConfigs(self, request: dict[str, Any]) -> Any:  # noqa: N802
        return {"EndpointConfigs": _listed(self.configs, "EndpointConfig", request)}

    def _sagemaker_listModels(self, request: dict[str, Any]) -> Any:  # noqa: N802
        return {"Models": _listed(self.models, "Model", request)}

    def _sagemaker_listEndpoints(self, request: dict[str, Any]) -> Any:  # noqa: N802
        found = _listed(self.endpoints, "Endpoint", request)
        return {"Endpoints": [e | {"EndpointStatus": self.endpoints[e["EndpointName"]].status} for e in found]}

    def _sagemaker_listTags(self, request: dict[str, Any]) -> Any:  # noqa: N802
        name = request["ResourceArn"].rpartition("/")[2]
        kind = request["ResourceArn"].split(":")[5].partition("/")[0]
        things = {"endpoint-config": self.configs, "model": self.models, "endpoint": self.tags}[kind]
        return {"Tags": things.get(name, {}).get("Tags", [])}

    def _sagemaker_createModelPackage(self, request: dict[str, Any]) -> Any:  # noqa: N802
        known = [arn for arn, p in self.packages.items() if p.get("ClientToken") == request["ClientToken"]]
        if known:
            return {"ModelPackageArn": known[0]}
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/{GROUP}/{len(self.packages) + 1}"
        self.packages[arn] = {**request, "ModelPackageArn": arn, "ModelPackageStatus": "Completed"}
        return {"ModelPackageArn": arn}

    def _sagemaker_updateModelPackage(self, request: dict[str, Any]) -> Any:  # noqa: N802
        self._find(self.packages, request["ModelPackageArn"], "model package").update(request)
        return {"ModelPackageArn": request["ModelPackageArn"]}

    def _job(self, request: dict[str, Any]) -> Any:
        """A job that runs once under its name; AWS never reuses a job name."""
        name = request.get("TrainingJobName") or request["ProcessingJobName"]
        if name in self.jobs:
            raise CallError("SageMaker.ResourceInUseException", f"Job name must be unique within an account: {name}")
        self.jobs.append(name)
        self.now += 600
        uri = f"{request.get('OutputDataConfig', {}).get('S3OutputPath', '')}/{name}/output/model.tar.gz"
        return {"ModelArtifacts": {"S3ModelArtifacts": uri}}

    def _s3_listObjectsV2(self, request: dict[str, Any]) -> Any:  # noqa: N802
        """List a split of one file; predictions of champions are not stored."""
        if request["Prefix"].startswith("predictions/"):
            return {"KeyCount": 0}
        return {"KeyCount": 1, "Contents": [{"Key": f"{request['Prefix']}part-0.parquet", "ETag": '"1"'}]}

    def _servicequotas_listServiceQuotas(self, request: dict[str, Any]) -> Any:  # noqa: N802
        del request
        return {"Quotas": [{"QuotaName": "ml.m5.large for endpoint usage", "Value": 20.0}]}

    # CloudWatch and Application Auto Scaling

    def _cloudwatch_putMetricAlarm(self, request: dict[str, Any]) -> Any:  # noqa: N802
        """An alarm that replaces another keeps its state."""
        state = self.alarms.get(request["AlarmName"], {}).get("StateValue", "OK")
        self.alarms[request["AlarmName"]] = request | {"StateValue": state}
        return {}

    def _cloudwatch_deleteAlarms(self, request: dict[str, Any]) -> Any:  # noqa: N802
        for name in request["AlarmNames"]:
            self.alarms.pop(name, None)
        return {}

    def _cloudwatch_describeAlarms(self, request: dict[str, Any]) -> Any:  # noqa: N802
        names = request.get("AlarmNames")
        prefix = request.get("AlarmNamePrefix", "")
        found = [n for n in self.alarms if (n in names if names is not None else n.startswith(prefix))]
        alarms = [{"AlarmName": n, "StateValue": self.alarms[n].get("StateValue", "OK")} for n in found]
        return {"MetricAlarms": alarms, "CompositeAlarms": []}

    def _cloudwatch_getMetricData(self, request: dict[str, Any]) -> Any:  # noqa: N802
        results = []
        if self.traffic is not None:
            # half an hour of history is enough, and faster
            first = max(request["StartTime"], datetime.fromtimestamp(START - 1800, UTC))
            length = int((request["EndTime"] - first).total_seconds() // 60) + 1
            times = [first + timedelta(minutes=minute) for minute in range(max(0, length))]
            for query in request["MetricDataQueries"]:
                pairs = [(at, self.traffic(query["MetricStat"], at)) for at in times]
                found = [(at, value) for at, value in pairs if value is not None]
                times_of, values_of = [at for at, _ in found], [value for _, value in found]
                results.append(
                    {"Id": query["Id"], "StatusCode": "Complete", "Timestamps": times_of, "Values": values_of}
                )
            return {"MetricDataResults": results}
        for query in request["MetricDataQueries"]:
            stat = query["MetricStat"]
            is_calls = stat["Stat"] == "SampleCount" or stat["Metric"]["MetricName"] == "HTTPCode_Target_2XX_Count"
            values = [float(self.call_count(stat["Metric"]))] if is_calls else []
            at = (request["EndTime"] - timedelta(seconds=30)).replace(second=0, microsecond=0)
            results.append(
                {"Id": query["Id"], "StatusCode": "Complete", "Timestamps": [at] * len(values), "Values": values}
            )
        return {"MetricDataResults": results}

    def call_count(self, metric: dict[str, Any]) -> int:
        """Return the number of calls of an invocation metric."""
        del metric
        return self.invocations

    def _cloudwatch_getMetricStatistics(self, request: dict[str, Any]) -> Any:  # noqa: N802
        del request
        return {"Datapoints": []}

    def _cloudwatch_putMetricData(self, request: dict[str, Any]) -> Any:  # noqa: N802
        del request
        return {}

    def _cloudwatch_setAlarmState(self, request: dict[str, Any]) -> Any:  # noqa: N802
        del request
        return {}

    # EventBridge and Step Functions

    def _eventbridge_enableRule(self, request: dict[str, Any]) -> Any:  # noqa: N802
        self._find(self.rules, request["Name"], "rule")
        self.rules[request["Name"]] = True
        return {}

    def _events_disableRule(self, request: dict[str, Any]) -> Any:  # noqa: N802
        self.rules[request["Name"]] = False
        return {}

    def _stepfunctions_startExecution(self, request: dict[str, Any]) -> Any:  # noqa: N802
        self.started.append(json.loads(request["input"]))
        return {}

    def _applicationautoscaling_registerScalableTarget(self, request: dict[str, Any]) -> Any:  # noqa: N802
        self.targets[request["ResourceId"]] = request
        return {}

    def _applicationautoscaling_describeScalableTargets(self, request: dict[str, Any]) -> Any:  # noqa: N802
        return {"ScalableTargets": [self.targets[name] for name in request["ResourceIds"] if name in self.targets]}

    def _applicationautoscaling_deregisterScalableTarget(self, request: dict[str, Any]) -> Any:  # noqa: N802
        """Removes its policies and schedules too."""
        target = request["ResourceId"]
        if target not in self.targets:
            raise CallError("ApplicationAutoScaling.ObjectNotFoundException", f"No scalable target found for {target}")
        del self.targets[target]
        self.scaling = {name: each for name, each in self.scaling.items() if each["ResourceId"] != target}
        return {}

    def _applicationautoscaling_putScalingPolicy(self, request: dict[str, Any]) -> Any:  # noqa: N802
        self.scaling[f"policy {request['PolicyName']}"] = request
        return {"PolicyARN": request["PolicyName"]}

    def _applicationautoscaling_putScheduledAction(self, request: dict[str, Any]) -> Any:  # noqa: N802
        self.scaling[f"schedule {request['ScheduledActionName']}"] = request
        return {}

    def _create(self, things: dict[str, Any], name: str, request: dict[str, Any], kind: str) -> Any:
        if name in things:
            raise _error(f"Cannot create already existing {kind} {name}.")
        things[name] = request
        return {}

    def _endpoint(self, name: str) -> Endpoint:
        self.settle()
        found: Endpoint = self._find(self.endpoints, name, "endpoint")
        return found

    def _find(self, things: dict[str, Any], name: str, kind: str) -> Any:
        if name not in things:
            raise _error(f'Could not find {kind} "{name}".')
        return things[name]


class _Client:
    """A boto3 client of one service: ``describe_endpoint(...)`` is ``describeEndpoint`` of the account."""

    def __init__(self, account: Account, service: str) -> None:
        self._account, self._service = account, service

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        if self._service == "s3":
            return getattr(_S3(self._account.objects), operation)  # type: ignore[no-any-return]
        first, *rest = operation.split("_")
        name = first + "".join(part.capitalize() for part in rest)
        handler: Callable[..., Any] = getattr(self._account, f"_{self._service.replace('-', '')}_{name}")
        return lambda **arguments: handler(arguments)

    def get_paginator(self, operation: str) -> Any:
        """Return a paginator whose one page is everything."""
        if self._service == "s3":
            return _Pages(_S3(self._account.objects).list_objects_v2)
        return _Pages(getattr(self, operation))


class _Pages:
    def __init__(self, operation: Callable[..., Any]) -> None:
        self._operation = operation

    def paginate(self, **arguments: Any) -> Iterator[Any]:
        yield self._operation(**arguments)


class _S3:
    def __init__(self, objects: dict[tuple[str, str], bytes]) -> None:
        self._objects = objects

    def get_object(self, *, Bucket: str, Key: str) -> Any:  # noqa: N803 - S3's own names
        if (Bucket, Key) not in self._objects:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": Key}}, "GetObject")
        return {
            "Body": io.BytesIO(self._objects[(Bucket, Key)]),
            "LastModified": datetime.fromtimestamp(START - 3600, UTC),
        }

    def head_object(self, *, Bucket: str, Key: str, ChecksumMode: str) -> Any:  # noqa: N803
        assert ChecksumMode == "ENABLED"
        content = self.get_object(Bucket=Bucket, Key=Key)["Body"].read()
        return {"ChecksumSHA256": base64.b64encode(hashlib.sha256(content).digest()).decode()}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, IfNoneMatch: str = "", **_: Any) -> Any:  # noqa: N803
        if IfNoneMatch == "*" and (Bucket, Key) in self._objects:
            raise ClientError({"Error": {"Code": "PreconditionFailed", "Message": Key}}, "PutObject")
        self._objects[(Bucket, Key)] = Body
        return {}

    def list_objects_v2(self, *, Bucket: str, Prefix: str = "", StartAfter: str = "", **_: Any) -> Any:  # noqa: N803
        keys = sorted(k for b, k in self._objects if b == Bucket and k.startswith(Prefix) and k > StartAfter)
        at = datetime.fromtimestamp(START, UTC)
        return {
            "Contents": [{"Key": key, "LastModified": at, "Size": len(self._objects[(Bucket, key)])} for key in keys]
        }


class Context:
    """Context of a Lambda call."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the remaining time of a function at its start."""
        return 900_000


_BAKING = {"Status": "Baking", "StatusMessage": "Baking the new fleet at full capacity"}
_LOCAL = threading.local()


def boto3_dynamodb() -> Any:
    """Return moto's DynamoDB; ``mock_aws`` must be on."""
    if not hasattr(_LOCAL, "dynamodb"):
        _LOCAL.dynamodb = boto3.client(
            "dynamodb", region_name=REGION, aws_access_key_id="testing", aws_secret_access_key="testing"
        )
    return _LOCAL.dynamodb


@functools.cache
def _captured(variant: str, body: str, hour: int) -> bytes:
    """Return one captured call per minute of an hour, counted from the hour of the start."""
    first, lines = datetime.fromtimestamp(START, UTC) + timedelta(hours=hour), list[str]()
    for minute in range(60):
        data = {"endpointInput": f'{{"instances": [{hour * 60 + minute}]}}', "endpointOutput": body}
        sides = {
            side: {"observedContentType": "application/json", "encoding": "JSON", "data": text}
            for side, text in data.items()
        }
        at = first + timedelta(minutes=minute)
        event = {"eventId": f"{variant}-{hour}-{minute}", "inferenceTime": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
        lines.append(json.dumps({"captureData": sides, "eventMetadata": event}))
    return "\n".join(lines).encode()


def _dynamodb(action: str, arguments: dict[str, Any]) -> Any:
    operation = {"updateItem": "update_item", "getItem": "get_item", "putItem": "put_item"}[action]
    try:
        return getattr(boto3_dynamodb(), operation)(**arguments)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        raise CallError(f"DynamoDB.{code}", error.response["Error"]["Message"]) from error


def _listed(things: Mapping[str, Any], kind: str, request: Mapping[str, Any]) -> list[dict[str, str]]:
    resource = "endpoint-config" if kind == "EndpointConfig" else kind.lower()
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{resource}/"
    names = [name for name in things if request.get("NameContains", "") in name]
    return [{f"{kind}Name": name, f"{kind}Arn": arn + name} for name in names]


def _error(message: str) -> ClientError:
    return ClientError({"Error": {"Code": "ValidationException", "Message": message}}, "SageMaker")
