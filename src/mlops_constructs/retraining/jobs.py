"""The three jobs of a retraining as calls of SageMaker's API, with expressions where a value is known only at run time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.retraining import EvaluationPlan, JobTags, TrainingSetPlan

PROCESSING = "/opt/ml/processing"
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AppSpecification.html: an argument has at most 256 characters
_MAXIMUM_ARGUMENT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnvironment:
    """Where jobs run and what they may use; values may be tokens.

    ``roles`` has one role ARN for each of ``set``, ``train`` and ``eval``.
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
    training_sets_bucket: str
    tags: JobTags
    volume_gigabytes: int = 30
    hyperparameters: Mapping[str, str] = field(default_factory=dict)


def training_set_job(
    jobs: JobEnvironment, plan: TrainingSetPlan, *, database: str, tables: Sequence[str]
) -> dict[str, object]:
    """Return the arguments of CreateProcessingJob for the training set; it reads Glue and S3 itself, so it has a network."""
    root = _training_set(jobs, plan)
    outputs = {split: f"{root} & '/{split}' %}}" for split in ("train", "holdout", "manifest")}
    arguments = ["--plan", *split_argument(canonical_json(plan).decode())]
    arguments += ["--as-of", "{% $request.as_of %}", "--database", database, "--tables", *tables]
    arguments += ["--output", f"{root} %}}"]
    arguments += ["--manifests", f"s3://{jobs.training_sets_bucket}/manifests"]
    return _processing(jobs, "set", "training_set", arguments, inputs={}, outputs=outputs, is_isolated=False)


def training_job(jobs: JobEnvironment, plan: TrainingSetPlan, *, script: str, code_uri: str) -> dict[str, object]:
    """Return the arguments of CreateTrainingJob; the container reaches no network."""
    return {
        "TrainingJobName": "{% $job & '-train' %}",
        "AlgorithmSpecification": {
            "TrainingImage": jobs.image_uri,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python", "-m", "mlops_runtime.jobs.train"],
            "ContainerArguments": [script],
        },
        "RoleArn": jobs.roles["train"],
        "HyperParameters": dict(jobs.hyperparameters),
        "InputDataConfig": [
            _channel("train", f"{_training_set(jobs, plan)} & '/train' %}}"),
            _channel("code", code_uri),
        ],
        "OutputDataConfig": {
            "S3OutputPath": f"s3://{jobs.artifacts_bucket}/models/{jobs.pipeline}",
            "KmsKeyId": jobs.kms_key,
        },
        "ResourceConfig": {
            "InstanceCount": 1,
            "InstanceType": jobs.instance_type,
            "VolumeSizeInGB": jobs.volume_gigabytes,
            "VolumeKmsKeyId": jobs.kms_key,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": jobs.maximum},
        "VpcConfig": {"Subnets": list(jobs.subnets), "SecurityGroupIds": list(jobs.security_groups)},
        "EnableNetworkIsolation": True,
        "EnableInterContainerTrafficEncryption": True,
        "Tags": jobs.tags.as_tags(),
    }


def evaluation_job(
    jobs: JobEnvironment, plan: EvaluationPlan, training_set: TrainingSetPlan, *, has_champion: bool
) -> dict[str, object]:
    """Return the arguments of CreateProcessingJob that measures the candidate, beside the champion if there is one."""
    root = _training_set(jobs, training_set)
    inputs = {split: f"{root} & '/{split}' %}}" for split in ("train", "holdout", "manifest")}
    inputs["candidate"] = "{% $train.ModelArtifacts.S3ModelArtifacts %}"
    if has_champion:
        inputs["champion"] = "{% $champion.artifact_uri %}"
    report = evaluation_prefix(jobs)
    arguments = ["--plan", *split_argument(canonical_json(plan).decode())]
    arguments += ["--baseline-uri", f"{report} & '/baseline.json' %}}"]
    outputs = {"report": f"{report} %}}"}
    return _processing(jobs, "eval", "evaluate", arguments, inputs=inputs, outputs=outputs, is_isolated=True)


def evaluation_prefix(jobs: JobEnvironment) -> str:
    """Return the open expression (without its closing brace) of the prefix that evaluation and baseline are written to."""
    return f"{{% 's3://{jobs.artifacts_bucket}/evaluations/{jobs.pipeline}/' & $name"


def split_argument(text: str) -> list[str]:
    """Cut a long argument into pieces that SageMaker takes; the job joins them.

    No piece starts with a dash, which an argument parser would take for an option.

    Example:
        >>> split_argument("a" * 255 + "-b")
        ['aaaa...
    """
    pieces = []
    while text:
        size = min(_MAXIMUM_ARGUMENT, len(text))
        while 1 < size < len(text) and text[size] == "-":
            size -= 1
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def _training_set(jobs: JobEnvironment, plan: TrainingSetPlan) -> str:
    return f"{{% 's3://{jobs.training_sets_bucket}/sets/{plan.name}/' & $name"


def _processing(
    jobs: JobEnvironment,
    job: str,
    module: str,
    arguments: Sequence[str],
    *,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    is_isolated: bool,
) -> dict[str, object]:
    return {
        "ProcessingJobName": f"{{% $job & '-{job}' %}}",
        "AppSpecification": {
            "ImageUri": jobs.image_uri,
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
                "InstanceType": jobs.instance_type,
                "VolumeSizeInGB": jobs.volume_gigabytes,
                "VolumeKmsKeyId": jobs.kms_key,
            }
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": jobs.maximum},
        "NetworkConfig": {
            "EnableNetworkIsolation": is_isolated,
            "EnableInterContainerTrafficEncryption": True,
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
