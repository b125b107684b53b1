"""``python -m mlops_runtime.serving serve``: one process, one model, SageMaker's environment variables."""

import logging
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from mlops_runtime.serving.app import MAX_BODY_BYTES, build
from mlops_runtime.serving.model import ModelError, load_directory

# SageMaker sends SIGKILL 30 s after SIGTERM
# See: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
_DRAIN_SECONDS = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The server's settings, from its environment.

    Args:
        model_directory: ``$MLOPS_OPT_ML/model``. Default: ``/opt/ml/model``.
        host: ``MLOPS_BIND_HOST``. Default: all interfaces, as a container needs.
        port: ``SAGEMAKER_BIND_TO_PORT``. Default: 8080.
        model_sha256: ``MLOPS_MODEL_SHA256``. Default: not compared, and a log line says so.
        max_body_bytes: ``MLOPS_MAX_BODY_BYTES``. Default: InvokeEndpoint's limit.
    """

    model_directory: Path
    host: str
    port: int
    model_sha256: str | None
    max_body_bytes: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the settings.

        Raises:
            ValueError: With every variable that is not the number it must be.
        """
        problems = []
        numbers = {}
        for name, default, most in (
            ("SAGEMAKER_BIND_TO_PORT", 8080, 65535),
            ("MLOPS_MAX_BODY_BYTES", MAX_BODY_BYTES, 2**31),
        ):
            text = environment.get(name, str(default))
            if not text.isdecimal() or not 0 < int(text) <= most:
                problems.append(f"{name} must be a number from 1 to {most}, got {text!r}")
            else:
                numbers[name] = int(text)
        if problems:
            raise ValueError("; ".join(problems))
        return cls(
            model_directory=Path(environment.get("MLOPS_OPT_ML", "/opt/ml")) / "model",
            host=environment.get("MLOPS_BIND_HOST", "0.0.0.0"),  # noqa: S104 - a container is reached from outside itself
            port=numbers["SAGEMAKER_BIND_TO_PORT"],
            model_sha256=environment.get("MLOPS_MODEL_SHA256") or None,
            max_body_bytes=numbers["MLOPS_MAX_BODY_BYTES"],
        )


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM, then answer what is in flight and leave. Returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="mlops serving: %(message)s", stream=sys.stderr)
    log = logging.getLogger("mlops.serving")
    if arguments != ["serve"]:
        log.error("usage: python -m mlops_runtime.serving serve, got %s", arguments)
        return 2
    try:
        settings = Settings.from_environment(os.environ)
        model = load_directory(settings.model_directory, expected_sha256=settings.model_sha256)
    except (ModelError, ValueError) as error:
        log.error("refuses to start: %s", error)  # noqa: TRY400 - a user's mistake has no traceback
        return 1
    if settings.model_sha256 is None:
        log.warning("MLOPS_MODEL_SHA256 is not set: the model's hash is not compared")
    log.info("model %s with %d columns, port %d", model.sha256, len(model.signature.inputs), settings.port)
    # uvicorn handles SIGTERM while it serves and re-raises it once drained: a drained server has not failed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        build(model, max_body_bytes=settings.max_body_bytes),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
