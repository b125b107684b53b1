"""Declarations of a pipeline's training: source of training sets, processing step, training job and serving container."""

import ast
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from mlops_constructs._arguments import checked
from mlops_constructs._validation import (
    ValidationError,
    check_duration,
    check_pattern,
    check_range,
    is_file,
    is_known,
    raise_problems,
)
from mlops_constructs.feature_store.interface import IUnitFeatureStore
from mlops_constructs.model_registry import ModelImage
from mlops_runtime.contracts.model import Metric, ServerContentType
from mlops_runtime.contracts.model_manifest import Trust
from mlops_runtime.contracts.retraining import EvaluationPlan, SignaturePlan, TrainingSetPlan
from mlops_runtime.features.feature_group import FeatureGroup

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html: safe characters
_PREFIX = r"[A-Za-z0-9!_.*'()-]+(?:/[A-Za-z0-9!_.*'()-]+)*"

_INSTANCE_TYPE = r"ml\.[a-z0-9-]+\.[a-z0-9]+"
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProcessingStoppingCondition.html
_SHORTEST, _LONGEST = cdk.Duration.minutes(1), cdk.Duration.days(5)
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StoppingCondition.html
_LONGEST_WAIT = cdk.Duration.days(28)
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
_MAXIMUM_VARIABLES = 99  # of 100; one is the training set's id
_TAKEN_VARIABLES = ("MLOPS_TRAINING_SET_ID",)
_VARIABLE = r"[a-zA-Z_][a-zA-Z0-9_]{0,511}"
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ContainerDefinition.html: 100, of which the gate sets three
_MAXIMUM_OF_MODEL = 97
_CHANNEL = r"[A-Za-z0-9._-]{1,64}"
_TAKEN_CHANNELS = ("train", "code")
# kind of prediction by metric; all other metrics measure a number
_KINDS: Mapping[Metric, Literal["probability", "classes", "vector"]] = {
    "log_loss": "probability",
    "brier": "probability",
    "macro_log_loss": "classes",
    "custom_loss": "vector",
}
_LARGEST_METRIC = 256 * 1024


@checked("InvalidTrainingSetSource")
@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSetSource:
    """Source of training sets: built from the feature store for each training, or uploaded to S3. Use a factory.

    Example:
        >>> source = TrainingSetSource.s3(bucket=bucket, prefix="exports/demand", label="units")
        >>> source.is_built
        False
    """

    bucket: s3.IBucket
    prefix: str
    label: str
    plan: TrainingSetPlan | None = None
    store: IUnitFeatureStore | None = None

    @classmethod
    def s3(cls, *, bucket: s3.IBucket, prefix: str, label: str) -> "TrainingSetSource":
        """A training set that others upload to S3: ``train/`` and ``holdout/`` (Parquet) and ``manifest/`` (one JSON file).

        Each training reads the current objects. The manifest is a ``TrainingSetManifest``, whose split has ``trained_until``,
        ``holdout_from`` and ``holdout_until``.

        Args:
            bucket: Bucket of the training set.
            prefix: Prefix of its keys, without leading and trailing slashes.
            label: Column to predict.

        Raises:
            ValidationError: If the prefix is not allowed.
        """
        problem = check_pattern("prefix", prefix, pattern=_PREFIX, allowed="a prefix such as 'exports/demand'")
        if problem is not None:
            raise ValidationError("InvalidTrainingSetSource", [problem])
        return cls(bucket=bucket, prefix=prefix, label=label)

    @classmethod
    def features(cls, *, store: IUnitFeatureStore, plan: TrainingSetPlan) -> "TrainingSetSource":
        """A training set that is built from the feature store for each training.

        Args:
            store: Feature store of the unit.
            plan: Label, features and split of the training set.
        """
        return cls(
            bucket=store.training_sets_bucket, prefix=f"sets/{plan.name}", label=plan.label, plan=plan, store=store
        )

    @property
    def is_built(self) -> bool:
        """Whether the pipeline builds the training sets from a feature store."""
        return self.plan is not None

    @property
    def label_group(self) -> FeatureGroup | None:
        """Feature group of the labels; ``None`` for a training set from S3."""
        if self.plan is None or self.store is None:
            return None
        return next((group for group in self.store.groups if group.name == self.plan.label_group), None)

    def foreign_key(self, *, beside: kms.IKey) -> kms.IKey | None:
        """Return the bucket's key if it is known and not the unit's, else ``None``.

        Args:
            beside: Key of the unit.
        """
        key = self.bucket.encryption_key
        return None if key is None or key.node.path == beside.node.path else key

    @property
    def root(self) -> str:
        """S3 URI prefix of one training set, as a JSONata expression without delimiters."""
        uri = f"s3://{self.bucket.bucket_name}/{self.prefix}"
        return f"'{uri}/' & $name" if self.is_built else f"'{uri}'"


@checked("InvalidSpot")
@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Managed spot training, which costs less and may be interrupted.

    Args:
        max_wait: Maximum of waiting and running time together, from the job's ``max_runtime`` to 28 days.

    Example:
        >>> import aws_cdk as cdk
        >>> Spot(max_wait=cdk.Duration.hours(6)).max_wait.to_hours()
        6
    """

    max_wait: cdk.Duration


@checked("InvalidProcessingStep")
@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingStep:
    """A processing job between training set and training, whose output is an additional channel of the training.

    It reads only the training split, so that no information of the holdout can reach the model.

    Args:
        image: Image of the job, by digest, with ``mlops_runtime``.
        source: Directory with the script.
        script: File name of the script in ``source``; it reads ``SM_CHANNEL_TRAIN`` and writes to ``SM_OUTPUT_DIR``.
        instance_type: Instance type of the job.
        max_runtime: Maximum runtime, one minute to five days.
        channel: Name of the training channel with the script's output. Default: ``processed``.

    Raises:
        ValidationError: If the script does not exist or a value is not allowed.

    Example:
        >>> import aws_cdk as cdk
        >>> step = ProcessingStep(image=image, source=Path("processing"), script="embed.py", instance_type="ml.m5.xlarge",
        ...                       max_runtime=cdk.Duration.hours(1))
    """

    image: ModelImage
    source: str | Path
    script: str
    instance_type: str
    max_runtime: cdk.Duration
    channel: str = "processed"

    def __post_init__(self) -> None:
        problems = [
            *_script_problems(self.source, self.script, self.instance_type, self.max_runtime),
            check_pattern("channel", self.channel, pattern=_CHANNEL, allowed="1 to 64 letters, digits or ._-"),
            f"channel must not be one of {', '.join(_TAKEN_CHANNELS)}, got {self.channel!r}"
            if self.channel in _TAKEN_CHANNELS
            else None,
        ]
        raise_problems("InvalidProcessingStep", problems)


@checked("InvalidServingContainer")
@dataclass(frozen=True, slots=True, kw_only=True)
class ServingContainer:
    """A third-party serving container for a pipeline's models, such as MLflow's server, whose models the platform cannot load.

    It must fulfil the container contract (``mlops serving check``). Models are evaluated by its server's predictions for the
    holdout, in a transform job without network access. The model archive has the files that the container loads, and
    ``signature.json`` at its root.

    Args:
        image: Image of the endpoint, by digest.
        content_types: Content types that it accepts. The holdout is sent as the first: JSON as
            ``{"instances": [{"column": value}]}``, CSV without a header. Default: JSON.
        environment: Environment variables of the container. Default: none.
        trust: What its server does to load a model: read ``data``, run ``code`` of the archive, or unpickle. Default: ``code``.

    Raises:
        ValidationError: If a value is not allowed.

    Example:
        >>> container = ServingContainer(image=image, environment={"MLFLOW_DISABLE_ENV_CREATION": "true"}, trust="pickle")
    """

    image: ModelImage
    content_types: Sequence[ServerContentType] = ("application/json",)
    environment: Mapping[str, str] = field(default_factory=dict)
    trust: Trust = "code"

    def __post_init__(self) -> None:
        problems = [
            None if self.content_types else "content_types must not be empty",
            *(
                check_pattern(
                    "environment", name, pattern=_VARIABLE, allowed="names of letters, digits and underscores"
                )
                for name in self.environment
            ),
            *(
                f"environment must not set {name}, which the gate sets"
                for name in self.environment
                if name.startswith("MLOPS_")
            ),
            f"environment must have at most {_MAXIMUM_OF_MODEL} variables, got {len(self.environment)}"
            if len(self.environment) > _MAXIMUM_OF_MODEL
            else None,
        ]
        raise_problems("InvalidServingContainer", problems)


@checked("InvalidTrainingJob")
@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """The training script of a model, and image and instances of the pipeline's jobs, which share the instance type.

    Args:
        image: Image of the jobs, by digest, with ``mlops_runtime``.
        source: Directory with the script, uploaded as the channel ``code``.
        script: File name of the script in ``source``; it reads ``SM_CHANNEL_TRAIN`` and writes to ``SM_MODEL_DIR``.
        instance_type: Instance type of the jobs.
        max_runtime: Maximum runtime of each job, one minute to five days.
        hyperparameters: Hyperparameters of the script, at most 99, or 98 if the job writes the signature; names that begin with
            ``sagemaker_`` are reserved for the container. Default: none.
        environment: Environment variables of the training container. Default: none.
        volume: Volume of each job's instance, 1 GiB to 16 TiB. Default: 30 GiB.
        spot: Managed spot training. Default: on-demand instances.
        checkpoints: Whether SageMaker saves the files that the script writes to ``MLOPS_CHECKPOINT_DIR``, and restores them after a
            spot interruption. Default: no.
        network_isolation: Whether the training container runs without network access. Default: yes.
        former_images: Images of other repositories in which a live model may still have to predict the holdout. Default: none; any
            runtime image loads ONNX.
        inputs: Columns of the training set that are inputs of the model, in its order, for the signature if the script writes none.
            Default: with an image of ``from_requirements`` or with ``serving``, all columns but the label, the time of prediction
            and the naive baselines.
        serving: Third-party container that serves the models; ``image`` then only runs the jobs. Default: ``image`` serves.
        former_serving: Third-party container that served before ``image`` does: a live model of it predicts the holdout with its
            own server, until a model of this pipeline replaces it. Default: none.
        metric: File in ``source`` with a function ``loss(label, prediction)`` that returns the loss of a row's prediction, a float
            of 0 or more, for the metric ``custom_loss`` of a model that predicts a vector. Both arguments are arrays of floats. It
            runs in a separate process with the Python of the model's environment. Default: a metric of the library.

    Raises:
        ValidationError: If the script does not exist or a value is not allowed.

    Example:
        >>> import aws_cdk as cdk
        >>> job = TrainingJob(image=image, source=Path("training"), script="train.py", instance_type="ml.m5.large",
        ...                   max_runtime=cdk.Duration.hours(1))
    """

    image: ModelImage
    source: str | Path
    script: str
    instance_type: str
    max_runtime: cdk.Duration
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    volume: cdk.Size | None = None
    spot: Spot | None = None
    checkpoints: bool = False
    network_isolation: bool = True
    former_images: Sequence[ModelImage] = ()
    inputs: Sequence[str] | None = None
    serving: ServingContainer | None = None
    metric: str | None = None
    former_serving: ServingContainer | None = None

    def __post_init__(self) -> None:
        problems = [
            *_script_problems(self.source, self.script, self.instance_type, self.max_runtime),
            "former_serving must not be given with serving, whose server also evaluates a live model of a container; leave it out"
            if self.serving is not None and self.former_serving is not None
            else None,
            *([] if self.metric is None else _metric_problems(self.source, self.metric)),
            *_input_problems(self.inputs),
            *(
                f"hyperparameter {name!r} must be a string of at most 2500 characters, got {value!r}"
                for name, value in self.hyperparameters.items()
                if is_known(value) and not re.fullmatch(r".{0,2500}", value)
            ),
            *_name_problems(self.hyperparameters, limit=98 if self.writes_signature else 99),
            *_environment_problems(self.environment),
            check_range("volume in GiB", self.volume_gigabytes, minimum=1, maximum=16384),
            *self._spot_problems(),
        ]
        raise_problems("InvalidTrainingJob", problems)

    @property
    def writes_signature(self) -> bool:
        """Whether the job writes the signature instead of the script."""
        return self.inputs is not None or self.image.lock is not None or self.serving is not None

    @property
    def holdout_container(self) -> ServingContainer | None:
        """Third-party container whose server predicts the holdout, for candidate and champion or for the champion only."""
        return self.former_serving if self.serving is None else self.serving

    @property
    def metric_file(self) -> Path | None:
        """File with the metric function."""
        return None if self.metric is None else Path(self.source) / self.metric

    @property
    def metric_sha256(self) -> str | None:
        """Hash of the file with the metric function."""
        return None if self.metric_file is None else hashlib.sha256(self.metric_file.read_bytes()).hexdigest()

    @property
    def serving_image(self) -> ModelImage:
        """Image that serves the trained models."""
        return self.image if self.serving is None else self.serving.image

    def signature_plan(self, evaluation: EvaluationPlan) -> SignaturePlan | None:
        """Return the plan of the signature that the job writes; ``None`` if the script must write it.

        Args:
            evaluation: Evaluation with the label, the metric, which implies the kind of prediction, and columns that it excludes.
        """
        if not self.writes_signature:
            return None
        timestamp = () if evaluation.timestamp is None else (evaluation.timestamp,)
        outputs = evaluation.labels
        # with several outputs, a baseline has one column per output
        naive = [
            name if outputs is None else f"{name}_{each}" for name in evaluation.baselines for each in outputs or ("",)
        ]
        return SignaturePlan(
            label=evaluation.label,
            kind=_KINDS.get(evaluation.metric, "number") if outputs is None else "numbers",
            labels=outputs,
            inputs=None if self.inputs is None else tuple(self.inputs),
            without=(*timestamp, *naive) if self.inputs is None else None,
            loaded_by=None if self.serving is None else "container",
        )

    @property
    def volume_gigabytes(self) -> int:
        """Volume of each job's instance in GiB."""
        return 30 if self.volume is None else int(self.volume.to_gibibytes(rounding=cdk.SizeRoundingBehavior.FLOOR))

    @property
    def max_wait_seconds(self) -> int | None:
        """Maximum of waiting and running seconds of a spot training; ``None`` for on-demand instances."""
        return None if self.spot is None else int(self.spot.max_wait.to_seconds(integral=False))

    def _spot_problems(self) -> list[str | None]:
        if self.spot is None:
            return []
        return [check_duration("spot.max_wait", self.spot.max_wait, minimum=self.max_runtime, maximum=_LONGEST_WAIT)]


def _script_problems(
    source: str | Path, script: str, instance_type: str, max_runtime: cdk.Duration
) -> list[str | None]:
    return [
        None if _is_inside(source, script) else f"script must be a file in source, got {script!r} in {str(source)!r}",
        check_pattern("instance_type", instance_type, pattern=_INSTANCE_TYPE, allowed="a type such as 'ml.m5.large'"),
        check_duration("max_runtime", max_runtime, minimum=_SHORTEST, maximum=_LONGEST),
    ]


def _is_inside(source: str | Path, name: str) -> bool:
    """Return whether a file is inside the uploaded directory; ``..`` and absolute paths may lead out of it."""
    path, depth = Path(name), 0
    for part in path.parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return False
    return not path.is_absolute() and is_file(Path(source) / path)


def _metric_problems(source: str | Path, metric: str) -> list[str | None]:
    """Return problems of a metric file that its source code shows."""
    file = Path(source) / metric
    if file.suffix != ".py" or not _is_inside(source, metric):
        return [f"metric must be a Python file in source, got {metric!r} in {str(source)!r}"]
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        return [f"metric {file.name!r} is not Python: {error}"]
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    if "loss" not in names:
        return [
            f"metric {file.name!r} must define loss(label, prediction), it defines {', '.join(names) or 'no function'}"
        ]
    size = file.stat().st_size
    return [
        None
        if size <= _LARGEST_METRIC
        else f"metric {file.name!r} must have at most {_LARGEST_METRIC} bytes, got {size}"
    ]


def _input_problems(inputs: Sequence[str] | None) -> list[str | None]:
    if inputs is None:
        return []
    twice = sorted({name for name in inputs if list(inputs).count(name) > 1})
    return [
        None if inputs else "inputs must name at least one column",
        f"inputs must name each column once, got {', '.join(map(repr, twice))} more than once" if twice else None,
    ]


def _name_problems(hyperparameters: Mapping[str, str], *, limit: int) -> list[str | None]:
    """Return problems of hyperparameter names: SageMaker allows 100, of which the container uses one or two."""
    taken = sorted(name for name in hyperparameters if name.startswith("sagemaker_"))
    return [
        check_range("hyperparameters", len(hyperparameters), minimum=0, maximum=limit),
        f"hyperparameters must not begin with 'sagemaker_', which is reserved for the container, got {', '.join(taken)}"
        if taken
        else None,
    ]


def _environment_problems(environment: Mapping[str, str]) -> list[str | None]:
    problems: list[str | None] = [
        check_pattern("environment", name, pattern=_VARIABLE, allowed="names of letters, digits and underscores")
        for name in environment
    ]
    problems += [
        f"environment variable {name!r} must be a string of at most 512 characters, got {len(value)}"
        for name, value in environment.items()
        if is_known(value) and len(value) > 512
    ]
    problems += [
        f"environment must not set {name}, which is the id of the training set"
        for name in _TAKEN_VARIABLES
        if name in environment
    ]
    if len(environment) > _MAXIMUM_VARIABLES:
        problems.append(f"environment must have at most {_MAXIMUM_VARIABLES} variables, got {len(environment)}")
    return problems
