"""The server as a process: settings, model, sockets, and the way out."""

import logging
import os

import uvicorn

from mlops_runtime.serving.app import build
from mlops_runtime.serving.model import ModelError, load_directory
from mlops_runtime.serving.settings import Settings

# SageMaker sends SIGKILL 30 s after SIGTERM
# See: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
_DRAIN_SECONDS = 25

_log = logging.getLogger("mlops.serving")


def serve() -> int:
    """Serve until SIGTERM, then answer what is in flight and leave. Returns the exit code."""
    try:
        settings = Settings.from_environment(os.environ)
        model = load_directory(settings.model_directory, expected_sha256=settings.model_sha256)
    except (ModelError, ValueError) as error:
        _log.error("refuses to start: %s", error)
        return 1
    if settings.model_sha256 is None:
        _log.warning("MLOPS_MODEL_SHA256 is not set: the model's hash is not compared")
    _log.info("model %s with %d columns, port %d", model.sha256, len(model.signature.inputs), settings.port)
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
