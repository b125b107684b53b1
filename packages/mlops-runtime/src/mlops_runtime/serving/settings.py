"""Settings of the server, all from environment variables: those of SageMaker's contract, and those of a pod's manifest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from mlops_runtime.serving.model_source import ModelEnvironment
from mlops_runtime.serving.served_model import ModelError

# InvokeEndpoint rejects longer bodies (botocore, sagemaker-runtime, BodyBlob)
MAX_BODY_BYTES = 6_291_456
_MOST_WORKERS = 256
_MOST_WAITING = 1_000  # milliseconds
MAX_CAPTURE_BYTES = 32 * 1024**2
# botocore finds credentials in a container by one of these
# See: https://docs.aws.amazon.com/boto3/latest/guide/credentials.html
_CREDENTIALS = (
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureSettings:
    """Data capture by the server itself, on platforms without it (EKS)."""

    bucket: str  # the capture bucket
    prefix: str  # key prefix before `<endpoint>/<variant>/yyyy/mm/dd/hh/`
    endpoint: str  # name of the service, the first folder of the key
    variant: str  # the second folder of the key
    percent: int  # percentage of calls to capture
    queue_bytes: int  # maximum bytes of the queue for S3; calls beyond it are dropped and counted
    kms_key: str | None = None  # KMS key of the objects. Default: the bucket's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The server's settings."""

    model_directory: Path  # `$MLOPS_OPT_ML/model`. Default: `/opt/ml/model`
    host: str  # `MLOPS_BIND_HOST`. Default: all interfaces, as a container needs
    port: int  # `SAGEMAKER_BIND_TO_PORT`. Default: 8080
    model_sha256: str | None  # `MLOPS_MODEL_SHA256`. Default: not compared, which is logged
    max_body_bytes: int  # `MLOPS_MAX_BODY_BYTES`. Default: InvokeEndpoint's limit
    name: str = "model"  # `MLOPS_ENDPOINT`, the model's name in the Open Inference Protocol. Default: `model`
    # `MLOPS_CAPTURE_URI` with `MLOPS_CAPTURE_PERCENT`, `MLOPS_CAPTURE_BYTES`, `MLOPS_CAPTURE_KMS_KEY`, `MLOPS_ENDPOINT`
    # and `MLOPS_VARIANT`. Default: the server captures nothing
    capture: CaptureSettings | None = None
    signature_sha256: str | None = None  # `MLOPS_SIGNATURE_SHA256`, of `signature.json`. Default: not compared
    # `MLOPS_HOSTS`, host names of the server, separated by commas; requests with other names and from pages of other
    # sites are refused. Default: any name, as behind a load balancer
    names: tuple[str, ...] = ()
    # environment of models that are not ONNX, and what loading may do. Default: only ONNX is served
    model_environment: ModelEnvironment = field(default_factory=ModelEnvironment)
    # `MLOPS_WORKERS`, processes of a model that is not ONNX. Default: one per CPU that the server may use, limited by
    # its memory (`fitting_workers`)
    workers: int | None = None
    # `MLOPS_BATCH_MILLISECONDS`, longest time that a call waits to be batched with others. Default: no batching
    batch_seconds: float = 0.0
    # `MLOPS_ONLINE_TABLE`, the DynamoDB table in which models look up features. Default: models with lookups are
    # rejected
    online_table: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the settings.

        Raises:
            ValueError: With every problem.
        """
        problems: list[str] = []
        port = _number(environment, "SAGEMAKER_BIND_TO_PORT", 8080, 65535, problems)
        body = _number(environment, "MLOPS_MAX_BODY_BYTES", MAX_BODY_BYTES, 2**31, problems)
        capture = _capture(environment, problems)
        workers = _number(environment, "MLOPS_WORKERS", 1, _MOST_WORKERS, problems)
        batch = _number(environment, "MLOPS_BATCH_MILLISECONDS", 0, _MOST_WAITING, problems, least=0)
        model_environment = ModelEnvironment()
        try:
            model_environment = ModelEnvironment.from_variables(environment)
        except ModelError as error:
            problems.append(str(error))
        if problems:
            raise ValueError("; ".join(problems))
        return cls(
            model_directory=Path(environment.get("MLOPS_OPT_ML", "/opt/ml")) / "model",
            host=environment.get("MLOPS_BIND_HOST", "0.0.0.0"),  # noqa: S104 - a container must be reachable from outside
            port=port,
            model_sha256=environment.get("MLOPS_MODEL_SHA256") or None,
            max_body_bytes=body,
            name=environment.get("MLOPS_ENDPOINT") or "model",
            capture=capture,
            signature_sha256=environment.get("MLOPS_SIGNATURE_SHA256") or None,
            model_environment=model_environment,
            workers=workers if environment.get("MLOPS_WORKERS") else None,
            batch_seconds=batch / 1000,
            online_table=environment.get("MLOPS_ONLINE_TABLE") or None,
            names=tuple(name for name in environment.get("MLOPS_HOSTS", "").lower().split(",") if name),
        )


def _number(
    environment: Mapping[str, str], name: str, default: int, most: int, problems: list[str], *, least: int = 1
) -> int:
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdecimal()) or not least <= int(text) <= most:
        problems.append(f"{name} must be a number from {least} to {most}, got {text!r}")
        return default
    return int(text)


def _capture(environment: Mapping[str, str], problems: list[str]) -> CaptureSettings | None:
    uri = environment.get("MLOPS_CAPTURE_URI")
    if not uri:
        return None
    percent = _number(environment, "MLOPS_CAPTURE_PERCENT", 100, 100, problems)
    queue = _number(environment, "MLOPS_CAPTURE_BYTES", MAX_CAPTURE_BYTES, 2**31, problems)
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc or not parts.path.strip("/") or parts.query or parts.fragment:
        problems.append(f"MLOPS_CAPTURE_URI must be s3://bucket/prefix, got {uri!r}")
    endpoint = environment.get("MLOPS_ENDPOINT", "")
    if not endpoint:
        problems.append("MLOPS_ENDPOINT must name the service whose calls are captured, got ''")
    if not any(environment.get(name) for name in _CREDENTIALS):
        problems.append(
            "MLOPS_CAPTURE_URI is set, but the container has no credentials, as under SageMaker's network isolation: "
            "omit it there and let the endpoint capture (DataCaptureConfig); in a pod, give the service account a "
            f"pod identity association. One of {', '.join(_CREDENTIALS)} is expected"
        )
    return CaptureSettings(
        bucket=parts.netloc,
        prefix=parts.path.strip("/"),
        endpoint=endpoint,
        variant=environment.get("MLOPS_VARIANT") or "AllTraffic",
        percent=percent,
        queue_bytes=queue,
        kms_key=environment.get("MLOPS_CAPTURE_KMS_KEY") or None,
    )
