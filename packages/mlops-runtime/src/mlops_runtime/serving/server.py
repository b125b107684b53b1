"""The server process: settings, model, number of worker processes, sockets and shutdown."""

import gc
import logging
import os
import signal
from pathlib import Path

import uvicorn

from mlops_runtime.serving.call_batching import BatchedModel
from mlops_runtime.serving.feature_lookup import FeatureLookups
from mlops_runtime.serving.http_app import (
    INLINE_SECONDS,
    INLINE_SECONDS_OF_WORKERS,
    Application,
    AsgiApplication,
    only_from,
)
from mlops_runtime.serving.model_source import load_folder
from mlops_runtime.serving.served_model import ModelError, ServedModel, check_answer
from mlops_runtime.serving.server_capture import CaptureBucket, Recorder
from mlops_runtime.serving.settings import CaptureSettings, Settings

# SageMaker sends SIGKILL 30 s after SIGTERM
# See: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
_DRAIN_SECONDS = 20
_FLUSH_SECONDS = 8
# longer than the idle timeout of load balancers (60 s), which could otherwise send a request on a connection being closed
# See: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html
_KEEP_ALIVE_SECONDS = 75

_log = logging.getLogger("mlops.serving")
# a process with scikit-learn and pandas takes 160 to 200 MB before it loads; pickles and trees take two to three times their files
_EMPTY_BYTES = 256 * 1024**2
_LOADED = 3
_SHARE = 0.8  # of the memory; the rest is for the server and the system


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
            on_end=_end,
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
    application: AsgiApplication = Application(
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


def fitting_workers(
    folder: Path,
    *,
    cgroup: Path = Path("/sys/fs/cgroup"),
    meminfo: Path = Path("/proc/meminfo"),
    cpus: int | None = None,
) -> int:
    """Return one worker per CPU, limited by the available memory; at least one.

    Args:
        folder: The model's folder.
        cgroup: Folder with the container's limits. Default: those of this process.
        meminfo: File with the available memory. Default: the machine's.
        cpus: Number of CPUs that this process may run on. Default: as reported by the system.
    """
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    room = int(_memory(cgroup, meminfo) * _SHARE / (_EMPTY_BYTES + _LOADED * size))
    return max(1, min(_cpus(cgroup, cpus), room))


def _cpus(cgroup: Path, cpus: int | None) -> int:
    usable = len(os.sched_getaffinity(0)) if cpus is None else cpus
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return min(usable, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no limit: the file is missing, or contains "max"
        return usable


def _memory(cgroup: Path, meminfo: Path) -> int:
    """Return the available bytes, or the container's limit if that is lower."""
    available = next(
        int(line.split()[1]) * 1024 for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable")
    )
    try:
        return min(available, int((cgroup / "memory.max").read_text()))
    except (OSError, ValueError):
        return available
