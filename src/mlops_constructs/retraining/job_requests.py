"""Requests of a retraining's jobs to SageMaker, with JSONata expressions for values known only at run time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model import ServerContentType
from mlops_runtime.contracts.model_manifest import Trust
from mlops_runtime.contracts.retraining import EvaluationPlan, JobTags, TrainingSetPlan
from mlops_runtime.instance_types import volume_key
from mlops_runtime.jobs.job_environment import PROGRAM, UNKNOWN, split_argument

PROCESSING = "/opt/ml/processing"
CHECKPOINTS = "/opt/ml/checkpoints"
TRAINING_SET_ID = "MLOPS_TRAINING_SET_ID"
TRAINING_SET_TAG = "mlops:training-set"
SPLITS = ("train", "holdout", "manifest")
# input of an evaluation for the champion: none, its model archive, predictions made in its own image, or those of its own server
Champion = Literal["none", "archive", "predictions", "answers"]
# time beyond a job's own runtime to provision instances and copy data
JOB_GRACE_SECONDS = 1800
# of a transform job: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTransformJob.html
_PAYLOAD_MB = 4
# characters of an execution's name in the names of its jobs
CHARACTERS_OF_NAME = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnvironment:
    """Image, instances, network, roles and locations of the jobs; values may be tokens.

    ``roles`` maps the existing ones of ``set``, ``prep``, ``train``, ``live``, ``eval``, ``rows`` and ``asks`` to role ARNs;
    ``training_set`` is the prefix of one training set, an expression without delimiters, and ``training_set_id`` the variable of
    its id if the machine knows it. ``maximum_wait`` enables spot training. ``trust`` are the environment variables of the
    registry's trust, empty for the default. ``metric_uri`` is the file of the unit's metric function, if any.
    """

    pipeline: str
    image_uri: str
    instance_type: str
    maximum: int
    roles: Mapping[str, str]
    subnets: Sequence[str]
    security_groups: Sequence[str]
    kms_key: str
    artifacts_bucket: str
    training_set: str
    tags: JobTags
    volume_gigabytes: int = 30
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    is_isolated: bool = True
    maximum_wait: int | None = None
    has_checkpoints: bool = False
    training_set_id: str | None = None
    trust: Mapping[str, str] = field(default_factory=dict)
    metric_uri: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkPlan:
    """Glue job for training sets that exceed the training-set job's memory, and its maximum runtime; the name may be a token."""

    job_name: str
    maximum: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePlan:
    """Tables, tagging function, manifests and lineage of the training-set job; values may be tokens.

    ``catalog`` is the ARN of the Glue catalog without its resource, ``lineage`` the prefix of the outbox of OpenLineage events,
    ``namespace`` the job's namespace in them. ``read`` are the tables of the plan. Without ``spark``, sets that do not fit are
    refused.
    """

    plan: TrainingSetPlan
    database: str
    tables: tuple[str, ...]
    read: tuple[str, ...]
    tags_arn: str
    manifests: str
    catalog: str
    lineage: str
    namespace: str
    spark: SparkPlan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingPlan:
    """Processing step between training set and training; values may be tokens."""

    image_uri: str
    instance_type: str
    maximum: int
    script: str
    code_uri: str
    channel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlan:
    """A third-party serving container and its content type; the image's URI and the environment may be tokens."""

    image_uri: str
    content_type: ServerContentType
    environment: Mapping[str, str]
    trust: Trust


def training_set_job(jobs: JobEnvironment, features: FeaturePlan, *, is_built: bool = False) -> dict[str, object]:
    """Return the arguments of CreateProcessingJob for the training set; the job reads Glue and S3, and so has network access.

    With ``is_built`` the job verifies a set that Spark built, and reports it like one of its own.

    Snapshots are tagged before, so that retention keeps them and the job needs no permission to commit. The job writes its files
    itself: SageMaker would upload them after the process has ended, when an erasure can no longer stop it.
    """
    arguments = ["--plan", *split_argument(canonical_json(features.plan).decode())]
    arguments += ["--as-of", "{% $request.as_of %}", "--database", features.database, "--tables", *features.tables]
    arguments += ["--tag", "{% $tag %}", "--output", f"{{% {jobs.training_set} %}}"]
    arguments += ["--manifests", features.manifests, "--catalog", features.catalog]
    arguments += ["--lineage", features.lineage, "--namespace", features.namespace]
    arguments += ["--built"] if is_built else []
    return _processing(jobs, "set", "training_set", arguments, inputs={}, outputs={}, is_isolated=False)


def spark_run(jobs: JobEnvironment, features: FeaturePlan, spark: SparkPlan) -> dict[str, object]:
    """Return the arguments of StartJobRun for a training set that exceeds the training-set job's memory.

    The build is named after the execution, so that a restarted run writes the same files once.
    """
    return {
        "JobName": spark.job_name,
        "Arguments": {
            "--build": "{% $name %}",
            "--plan": canonical_json(features.plan).decode(),
            "--as_of": "{% $request.as_of %}",
            "--tables": ",".join(features.read),
            "--tag": "{% $tag %}",
            "--output": f"{{% {jobs.training_set} %}}",
        },
    }


def preparation_job(jobs: JobEnvironment, step: ProcessingPlan) -> dict[str, object]:
    """Return the arguments of CreateProcessingJob for a processing step: training split in, one channel out, no network."""
    return _processing(
        jobs,
        "prep",
        "process",
        [step.script],
        inputs={"train": _split(jobs, "train"), "code": step.code_uri},
        outputs={"processed": _processed(jobs)},
        is_isolated=True,
        image_uri=step.image_uri,
        instance_type=step.instance_type,
        maximum=step.maximum,
    )


def training_job(
    jobs: JobEnvironment, *, script: str, code_uri: str, step: ProcessingPlan | None = None
) -> dict[str, object]:
    """Return the arguments of CreateTrainingJob.

    Step Functions' optimized integration supports neither ``ContainerEntrypoint`` nor ``ContainerArguments``, so SageMaker runs the
    image's own ``train``, which reads the script's name from the hyperparameters. Inter-container encryption is not set, as it does
    not affect jobs with one instance (https://docs.aws.amazon.com/sagemaker/latest/dg/train-encrypt.html).
    """
    channels = [_channel("train", _split(jobs, "train")), _channel("code", code_uri)]
    if step is not None:
        channels.append(_channel(step.channel, _processed(jobs)))
    stopping = {"MaxRuntimeInSeconds": jobs.maximum}
    job: dict[str, object] = {
        "TrainingJobName": "{% $job & '-train' %}",
        "AlgorithmSpecification": {
            "TrainingImage": jobs.image_uri,
            "TrainingInputMode": "File",
        },
        "RoleArn": jobs.roles["train"],
        "HyperParameters": {**jobs.hyperparameters, PROGRAM: script},
        "InputDataConfig": channels,
        "OutputDataConfig": {
            "S3OutputPath": f"s3://{jobs.artifacts_bucket}/training/{jobs.pipeline}",
            "KmsKeyId": jobs.kms_key,
        },
        "ResourceConfig": {
            "InstanceCount": 1,
            "InstanceType": jobs.instance_type,
            "VolumeSizeInGB": jobs.volume_gigabytes,
            **volume_key(jobs.instance_type, jobs.kms_key),
        },
        "StoppingCondition": stopping,
        "VpcConfig": {"Subnets": list(jobs.subnets), "SecurityGroupIds": list(jobs.security_groups)},
        "EnableNetworkIsolation": jobs.is_isolated,
        "Tags": jobs.tags.as_tags(),
    }
    environment = {**jobs.environment, **jobs.trust}
    if jobs.training_set_id is not None:
        environment[TRAINING_SET_ID] = f"{{% {jobs.training_set_id} %}}"
        tag = {"Key": TRAINING_SET_TAG, "Value": f"{{% {jobs.training_set_id} %}}"}
        job["Tags"] = [*jobs.tags.as_tags(), tag]
    if environment:
        job["Environment"] = environment
    if jobs.maximum_wait is not None:
        # https://docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html
        job["EnableManagedSpotTraining"] = True
        stopping["MaxWaitTimeInSeconds"] = jobs.maximum_wait
    if jobs.has_checkpoints:
        # SageMaker copies checkpoints from outside the container, so network isolation does not matter
        uri = f"{{% 's3://{jobs.artifacts_bucket}/checkpoints/{jobs.pipeline}/' & $name %}}"
        job["CheckpointConfig"] = {"S3Uri": uri, "LocalPath": CHECKPOINTS}
    return job


def prediction_job(jobs: JobEnvironment) -> dict[str, object]:
    """Return the arguments of CreateProcessingJob in which the champion predicts the holdout, in its serving image."""
    return _processing(
        jobs,
        "live",
        "predict",
        ["--artifact-sha256", "{% $champion.artifact_sha256 %}"],
        inputs={"holdout": _split(jobs, "holdout"), "model": "{% $champion.artifact_uri %}"},
        outputs={"predictions": predictions_uri(jobs)},
        is_isolated=True,
        image_uri="{% $champion.image %}",
    ) | _trusting(jobs)


def predictions_uri(jobs: JobEnvironment) -> str:
    """Return the S3 URI prefix of the champion's predictions."""
    return f"{{% 's3://{jobs.artifacts_bucket}/' & $predictions %}}"


def split_list(jobs: JobEnvironment, split: str) -> dict[str, object]:
    """Return the arguments of ListObjectsV2 for the files of a split, or the manifest."""
    key = f"$substringAfter({jobs.training_set}, 's3://')"
    return {
        "Bucket": f"{{% $substringBefore({key}, '/') %}}",
        "Prefix": f"{{% $substringAfter({key}, '/') & '/{split}/' %}}",
    }


def rows_job(jobs: JobEnvironment, server: ServerPlan) -> dict[str, object]:
    """Return the arguments of CreateProcessingJob that writes the holdout as requests for a third-party server."""
    job = _processing(
        jobs,
        "rows",
        "server_rows",
        ["--content-type", server.content_type, "--artifact-sha256", "{% $requested_sha256 %}"],
        inputs={"holdout": _split(jobs, "holdout"), "model": "{% $container.ModelDataUrl %}"},
        outputs={"rows": _of_answers(jobs, "rows"), "answers": _of_answers(jobs, "answers")},
        is_isolated=True,
    )
    return job | {"ProcessingJobName": "{% $job & '-rows' & $turn %}"}


def server_model(jobs: JobEnvironment) -> dict[str, object]:
    """Return the arguments of CreateModel, without its name, for a third-party server."""
    return {
        "PrimaryContainer": "{% $container %}",
        "ExecutionRoleArn": jobs.roles["asks"],
        "EnableNetworkIsolation": True,
        "VpcConfig": {"Subnets": list(jobs.subnets), "SecurityGroupIds": list(jobs.security_groups)},
        "Tags": jobs.tags.as_tags(),
    }


def transform_job(jobs: JobEnvironment, server: ServerPlan) -> dict[str, object]:
    """Return the arguments of CreateTransformJob, without its model, in which a third-party server predicts the holdout.

    Step Functions' optimized integration supports neither ``ModelClientConfig`` nor ``DataProcessing``. A line of JSON is a whole
    request; several lines of CSV form one.
    """
    is_json = server.content_type == "application/json"
    return {
        "TransformJobName": "{% $job & '-asks' & $turn %}",
        "BatchStrategy": "SingleRecord" if is_json else "MultiRecord",
        "MaxPayloadInMB": _PAYLOAD_MB,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": _of_answers(jobs, "rows", end="/")}},
            "ContentType": server.content_type,
            "SplitType": "Line",
        },
        "TransformOutput": {
            "S3OutputPath": _of_answers(jobs, "answers"),
            "AssembleWith": "Line",
            "KmsKeyId": jobs.kms_key,
        },
        "TransformResources": {
            "InstanceCount": 1,
            "InstanceType": jobs.instance_type,
            **volume_key(jobs.instance_type, jobs.kms_key),
        },
        "Tags": jobs.tags.as_tags(),
    }


def _of_answers(jobs: JobEnvironment, folder: str, *, variable: str = "answers", end: str = "") -> str:
    return f"{{% 's3://{jobs.artifacts_bucket}/' & ${variable} & '/{folder}{end}' %}}"


def evaluation_job(
    jobs: JobEnvironment, plan: EvaluationPlan, *, champion: Champion, server: ServerPlan | None = None
) -> dict[str, object]:
    """Return the arguments of CreateProcessingJob that evaluates the candidate, against the champion if there is one.

    Args:
        jobs: Environment of the jobs.
        plan: Evaluation plan.
        champion: Input for the champion.
        server: Third-party container that has predicted for the candidate. Default: the job loads the candidate.
    """
    inputs = {split: _split(jobs, split) for split in SPLITS}
    inputs["candidate"] = "{% $artifact %}"
    inputs["expected"] = _expected(jobs)
    if jobs.metric_uri is not None:
        inputs["metric"] = jobs.metric_uri
    arguments = ["--plan", *split_argument(canonical_json(plan).decode())]
    report = evaluation_prefix(jobs)
    arguments += ["--baseline-uri", f"{report} & '/baseline.json' %}}"]
    if champion == "archive":
        inputs["champion"] = "{% $champion.artifact_uri %}"
    if champion == "predictions":
        inputs["predictions"] = predictions_uri(jobs)
    if server is not None:
        inputs["answers"] = _of_answers(jobs, "answers", variable="candidate_answers")
        arguments += ["--container-trust", server.trust]
    if champion == "answers":
        inputs["champion-answers"] = _of_answers(jobs, "answers")
    if champion != "none":
        arguments += ["--champion-sha256", "{% $champion.artifact_sha256 %}"]
        until = f"$exists($champion.trained_until) ? $champion.trained_until : '{UNKNOWN}'"
        arguments += ["--champion-trained-until", f"{{% {until} %}}"]
    outputs = {"report": f"{report} %}}"}
    job = _processing(jobs, "eval", "evaluate", arguments, inputs=inputs, outputs=outputs, is_isolated=True)
    return job | _trusting(jobs)


def evaluation_prefix(jobs: JobEnvironment) -> str:
    """Return the prefix of evaluation and baseline, as an expression without its closing delimiter."""
    return f"{{% 's3://{jobs.artifacts_bucket}/evaluations/{jobs.pipeline}/' & $name"


def _expected(jobs: JobEnvironment) -> str:
    """Return the URI of the team's own predictions of an external model, or the manifest, as an input must have an object."""
    given = "$request.candidate.predictions_uri"
    return f"{{% $exists({given}) ? {given} : {jobs.training_set} & '/manifest' %}}"


def _trusting(jobs: JobEnvironment) -> dict[str, object]:
    return {"Environment": dict(jobs.trust)} if jobs.trust else {}


def _split(jobs: JobEnvironment, split: str) -> str:
    return f"{{% {jobs.training_set} & '/{split}' %}}"


def _processed(jobs: JobEnvironment) -> str:
    return f"{{% 's3://{jobs.artifacts_bucket}/processed/{jobs.pipeline}/' & $name %}}"


def _processing(
    jobs: JobEnvironment,
    job: str,
    module: str,
    arguments: Sequence[str],
    *,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    is_isolated: bool,
    image_uri: str | None = None,
    instance_type: str | None = None,
    maximum: int | None = None,
) -> dict[str, object]:
    instance_type = jobs.instance_type if instance_type is None else instance_type
    return {
        "ProcessingJobName": f"{{% $job & '-{job}' %}}",
        "AppSpecification": {
            "ImageUri": jobs.image_uri if image_uri is None else image_uri,
            "ContainerEntrypoint": ["python", "-m", f"mlops_runtime.jobs.{module}"],
            "ContainerArguments": list(arguments),
        },
        "RoleArn": jobs.roles[job],
        "ProcessingInputs": [_input(name, uri) for name, uri in inputs.items()],
        "ProcessingOutputConfig": {
            "KmsKeyId": jobs.kms_key,
            "Outputs": [_output(name, uri) for name, uri in outputs.items()],
        },
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": instance_type,
                "VolumeSizeInGB": jobs.volume_gigabytes,
                **volume_key(instance_type, jobs.kms_key),
            }
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": jobs.maximum if maximum is None else maximum},
        "NetworkConfig": {
            "EnableNetworkIsolation": is_isolated,
            "VpcConfig": {"Subnets": list(jobs.subnets), "SecurityGroupIds": list(jobs.security_groups)},
        },
        "Tags": jobs.tags.as_tags(),
    }


def _input(name: str, uri: str) -> dict[str, object]:
    source = {
        "S3Uri": uri,
        "LocalPath": f"{PROCESSING}/input/{name}",
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
        "S3DataDistributionType": "FullyReplicated",
        "S3CompressionType": "None",
    }
    return {"InputName": name, "S3Input": source}


def _output(name: str, uri: str) -> dict[str, object]:
    target = {"S3Uri": uri, "LocalPath": f"{PROCESSING}/output/{name}", "S3UploadMode": "EndOfJob"}
    return {"OutputName": name, "S3Output": target}


def _channel(name: str, uri: str) -> dict[str, object]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "CompressionType": "None", "InputMode": "File"}
