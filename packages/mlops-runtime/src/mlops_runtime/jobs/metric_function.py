"""The metric function of a unit, ``loss(label, prediction)``: the loss of models whose predictions no built-in metric measures.

Like a training script, it is the unit's code. It runs in a separate process with the Python of the model's environment, never in
the process of the evaluation. One process measures candidate, champion and baselines. Its results are checked: one finite number of
0 or more per row.
"""

import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mlops_runtime.jobs.holdout_losses import Mask, Wide
from mlops_runtime.jobs.job_environment import JobError
from mlops_runtime.serving.model_folder import hash_of
from mlops_runtime.serving.model_source import ModelEnvironment
from mlops_runtime.serving.served_model import ModelError, SlowModelError
from mlops_runtime.serving.worker_process import WorkerProcess

PIECE_SECONDS = 60.0  # per `PIECE_ROWS` rows
PIECE_ROWS = 1000
LOAD_SECONDS = 120.0
MEGABYTES = 4096
_PROGRAM = Path(__file__).with_name("metric_worker.py")
_HEAD = struct.Struct("<qqq")


class MetricFunction:
    """A function that returns the loss of each row, run in a separate process.

    Example:
        >>> with metric_function(Path("metric.py"), ModelEnvironment(), expected_sha256=sha256) as function:  # doctest: +SKIP
        ...     function.losses([np.array([1.0, 0.0])], np.array([[0.8, 0.6]]), np.array([True]))
        array([0.2])
    """

    def __init__(self, name: str, process: WorkerProcess) -> None:
        self._name, self._process = name, process

    def losses(self, labels: Sequence[Wide], predictions: Wide, given: Mask) -> Wide:
        """Return the loss of each row; a row without a prediction is not passed to the function and has 0.

        Raises:
            JobError: If the function fails, takes too long, ends its process, or returns anything but a finite number of 0 or
                more, with the row.
        """
        found = np.zeros(len(labels))
        rows = np.flatnonzero(given)
        for start in range(0, len(rows), PIECE_ROWS):
            piece = rows[start : start + PIECE_ROWS]
            found[piece] = self._piece(piece, [labels[row] for row in piece], predictions[piece])
        return found

    def _piece(self, rows: "np.ndarray[tuple[int], np.dtype[np.int64]]", labels: Sequence[Wide], values: Wide) -> Wide:
        sizes = np.array([len(label) for label in labels], dtype=np.int64)
        head = _HEAD.pack(len(rows), int(sizes.sum()), values.shape[1])
        numbers = [np.concatenate(labels), values.reshape(-1)]
        body = b"".join(np.ascontiguousarray(each, np.float64).tobytes() for each in numbers)
        try:
            content, _ = self._process.call(head + rows.astype(np.int64).tobytes() + sizes.tobytes() + body)
        except (ModelError, SlowModelError) as error:
            raise JobError(str(error)) from error
        answers = np.frombuffer(content, np.float64)
        if len(answers) != len(rows):
            raise JobError(f"{self._name} returned {len(answers)} losses for {len(rows)} rows")
        wrong = np.flatnonzero(~(np.isfinite(answers) & (answers >= 0)))
        if len(wrong):
            place = int(wrong[0])
            raise JobError(
                f"{self._name} returned {answers[place]:g} for row {rows[place]} of the holdout; a loss is a finite number >= 0"
            )
        return answers


@contextmanager
def metric_function(
    file: Path,
    environment: ModelEnvironment,
    *,
    expected_sha256: str,
    piece_seconds: float = PIECE_SECONDS,
    load_seconds: float = LOAD_SECONDS,
    megabytes: int = MEGABYTES,
) -> Iterator[MetricFunction]:
    """Load the metric function of a file in the model's environment, else in the job's; its process ends with the block.

    Raises:
        JobError: If the hash differs, or the file has no such function.
    """
    found = hash_of(file)
    if found != expected_sha256:
        raise JobError(
            f"the metric function has SHA-256 {found}, the plan has {expected_sha256}; deploy the stack again"
        )
    name = "the metric function"
    python = Path(sys.executable) if environment.requirements_sha256 is None else environment.python
    try:
        process = WorkerProcess(name, _PROGRAM, python, str(file.resolve()), str(megabytes))
        try:
            process.wait(load_seconds, piece_seconds)
            yield MetricFunction(name, process)
        finally:
            process.close()
    except (ModelError, SlowModelError) as error:
        raise JobError(str(error)) from error
