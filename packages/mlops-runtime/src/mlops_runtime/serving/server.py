"""The server process: settings, model, sockets and shutdown."""

import gc
import logging
import os
import signal

import uvicorn

from mlops_runtime.serving.call_batching import BatchedModel
from mlops_runtime.serving.callers import Application, only_from
from mlops_runtime.serving.feature_lookup import FeatureLookups
from mlops_runtime.serving.http_app import INLINE_SECONDS, INLINE_SECONDS_OF_WORKERS, build
from mlops_runtime.serving.model_source import load_folder
from mlops_runtime.serving.served_model import ModelError, ServedModel, check_answer
from mlops_runtime.serving.server_capture import CaptureBucket, Recorder
from mlops_runtime.serving.settings import CaptureSettings, Settings
from mlops_runtime.serving.worker_count import fitting_workers

# SageMaker sends SIGKILL 30 s after SIGTERM
# See: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
_DRAIN_SECONDS = 20
_FLUSH_SECONDS = 8
# longer than the idle timeout of load balancers (60 s), which could otherwise send a request on a connection being closed
# See: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html
_KEEP_ALIVE_SECONDS = 75

_log = logging.getLogger("mlops.serving")


def serve() -> int:
    """Serve until SIGTERM, then finish the requests in flight. Returns the exit code."""
    try:
        settings = Settings.from_environment(os.environ)
        workers = settings.workers or fitting_workers(settings.model_directory)
        model = load_folder(
            settings.model_directory,
            settings.model_environment,
            expected_sha256=settings.model_sha256,
            expected_signature_sha256=settings.signature_sha256,
            gone=_end,
            workers=workers,
        )
        check_answer(model)
        lookups = _lookups(model, settings)
    except (ModelError, ValueError) as error:
        _log.error("refuses to start: %s", error)
        return 1
    if settings.model_sha256 is None:
        _log.warning("MLOPS_MODEL_SHA256 is not set: the model's hash is not compared")
    _log.info("model %s with %d columns, port %d", model.sha256, len(model.signature.inputs), settings.port)
    if model.manifest is not None:
        _log.info("%d processes of the model (MLOPS_WORKERS)", workers)
    gc.freeze()  # exclude loaded objects from garbage collection
    recorder = None if settings.capture is None else _recorder(settings.capture)
    has_workers = model.manifest is not None and workers > 1
    application: Application = build(
        model if settings.batch_seconds == 0 else BatchedModel(model, seconds=settings.batch_seconds),
        max_body_bytes=settings.max_body_bytes,
        name=settings.name,
        recorder=recorder,
        inline_seconds=0.0 if settings.batch_seconds else INLINE_SECONDS_OF_WORKERS if has_workers else INLINE_SECONDS,
        lookups=lookups,
    )
    if settings.names:
        application = only_from(application, {f"{name}:{settings.port}" for name in settings.names})
    try:
        uvicorn.run(
            application,
            host=settings.host,
            port=settings.port,
            lifespan="off",
            ws="none",
            access_log=False,
            log_level="error",  # invalid HTTP must not let callers fill the log
            server_header=False,
            proxy_headers=False,  # the caller's address is not used
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
    finally:
        # uvicorn raises SIGTERM again after draining, which exits here
        if recorder is not None:
            recorder.close(_FLUSH_SECONDS)
    return 0


def _lookups(model: ServedModel, settings: Settings) -> FeatureLookups | None:
    lookup = model.signature.lookup
    if lookup is None:
        return None
    if settings.online_table is None:
        raise ModelError(
            f"the model looks up features of service {lookup.service.name!r}, but MLOPS_ONLINE_TABLE is not set; set it to the "
            "name of the online table"
        )
    return FeatureLookups.dynamodb(lookup, model.signature, settings.online_table)


def _end() -> None:
    _log.error("the model's process has ended; stopping the server")
    os.kill(os.getpid(), signal.SIGTERM)


def _recorder(capture: CaptureSettings) -> Recorder:
    bucket = CaptureBucket(capture)
    return Recorder(capture, bucket.put, prepare=bucket.prepare)
