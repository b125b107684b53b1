"""A model that runs in worker processes, with the Python of its own environment.

Nothing of the model is loaded in this process. Workers get no credentials, no proxy and no environment variables of it; rows and
predictions are exchanged over a socket pair, never a port or a pickle.
"""

import struct
from collections.abc import Callable, Collection
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import orjson

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.model import ModelSignature
from mlops_runtime.contracts.model_manifest import trust_refusal
from mlops_runtime.serving.model_folder import checked_manifest
from mlops_runtime.serving.served_model import (
    SIGNATURE_FILE,
    CategoryCodes,
    Matrix,
    ModelError,
    SlowModelError,
    column_problems,
    declared_shape,
    kind_problems,
    number_type,
)
from mlops_runtime.serving.worker_process import WorkerEndedError, WorkerProcess

# "containers must respond to requests within 60 seconds"
# See: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
ANSWER_SECONDS = 55.0
LOAD_SECONDS = 600.0
_PROGRAM = Path(__file__).with_name("model_worker.py")
_HEAD = struct.Struct("<qq")


OnEnd = Callable[[], None]


class WorkerModel:
    """The worker processes of a model; each handles one call at a time.

    Args:
        folder: The model's folder, which is verified against its manifest.
        python: The interpreter of the model's environment.
        expected_sha256: Expected hash of ``mlops-model.json``. Default: not compared.
        expected_signature_sha256: Expected hash of ``signature.json``. Default: not compared.
        requirements_sha256: Hash of the lock that the environment was built from. Default: not compared.
        trusts: What loading may do. Default: read data and run the model's own code, but not unpickle.
        on_end: Called once if a process ends while it is needed. Default: nothing is called.
        answer_seconds: Timeout of one call, after which the processes are killed. Default: 55.
        load_seconds: Timeout of loading. Default: 600.
        workers: Number of processes, each with its own copy of the model in memory. Default: 1.

    Raises:
        ModelError: If the folder is not the registered model, or the model fails to load.

    Example:
        >>> model = WorkerModel(Path("/opt/ml/model"), python=Path("/opt/model/bin/python"))  # doctest: +SKIP
        >>> model.predict(np.zeros((1, len(model.signature.inputs)), dtype=np.float32)).shape  # doctest: +SKIP
        (1,)
    """

    def __init__(
        self,
        folder: Path,
        *,
        python: Path,
        expected_sha256: str | None = None,
        expected_signature_sha256: str | None = None,
        requirements_sha256: str | None = None,
        trusts: Collection[str] = ("data", "code"),
        on_end: OnEnd | None = None,
        answer_seconds: float = ANSWER_SECONDS,
        load_seconds: float = LOAD_SECONDS,
        workers: int = 1,
    ) -> None:
        manifest, self.sha256 = checked_manifest(folder, expected_sha256=expected_sha256)
        self.manifest, self.signature_sha256 = manifest, manifest.files[SIGNATURE_FILE]
        if expected_signature_sha256 is not None and self.signature_sha256 != expected_signature_sha256.lower():
            raise ModelError(
                f"{SIGNATURE_FILE} has SHA-256 {self.signature_sha256}, expected {expected_signature_sha256}: not the registered "
                "model"
            )
        if manifest.trust not in trusts:
            raise ModelError(trust_refusal(manifest.entry, manifest.flavor, manifest.trust, allowed=trusts))
        if requirements_sha256 is not None and requirements_sha256 != manifest.requirements_sha256:
            raise ModelError(
                f"the image's environment is of lock {requirements_sha256}, the model needs {manifest.requirements_sha256}; "
                "build the image from the model's requirements.lock"
            )
        try:
            self.signature = from_json(ModelSignature, (folder / SIGNATURE_FILE).read_bytes())
        except ContractError as error:
            raise ModelError(f"{SIGNATURE_FILE}: {error}") from error
        if problems := [*column_problems(self.signature), *kind_problems(self.signature)]:
            raise ModelError(f"{SIGNATURE_FILE}: {'; '.join(problems)}")
        if not python.is_file():
            raise ModelError(
                f"the model's environment has no {python}; serve it with an image built from its requirements.lock"
            )
        self._on_end, self._codes = on_end, CategoryCodes(self.signature)
        self._number = np.dtype(number_type(self.signature)).newbyteorder("<")
        self._processes: list[WorkerProcess] = []
        self._idle: SimpleQueue[WorkerProcess] = SimpleQueue()
        try:
            for _ in range(workers):  # they load in parallel
                self._processes.append(WorkerProcess("the model", _PROGRAM, python, str(folder)))
            for process in self._processes:
                process.wait(load_seconds, answer_seconds)
                self._idle.put(process)
        except (SlowModelError, ModelError) as error:
            self.close()
            raise ModelError(f"{manifest.entry} failed to load: {error}") from error

    def predict(self, rows: Matrix) -> Matrix:
        """Return one prediction per row.

        Raises:
            ModelError: If the model fails, or does not return one prediction per row.
            SlowModelError: If it does not respond in time; its processes are killed.
            WorkerEndedError: If its process has ended.
        """
        body = np.ascontiguousarray(self._codes.of(rows), self._number).tobytes()
        texts = self._codes.texts(rows)
        more = orjson.dumps(texts) if texts else b""
        process = self._idle.get()
        try:
            content, columns = process.call(_HEAD.pack(len(body), len(more)) + body + more)
        except (SlowModelError, WorkerEndedError):
            self._end()
            raise
        finally:
            self._idle.put(process)
        answer = np.frombuffer(content, "<f8")
        return declared_shape(answer if columns == 0 else answer.reshape(-1, columns), len(rows), self.signature)

    @property
    def pids(self) -> tuple[int, ...]:
        """Ids of the model's processes."""
        return tuple(process.pid for process in self._processes)

    def close(self) -> None:
        """Kill the model's processes, and those that they started."""
        for process in self._processes:
            process.close()

    def _end(self) -> None:
        self.close()
        if self._on_end is not None:
            self._on_end()
