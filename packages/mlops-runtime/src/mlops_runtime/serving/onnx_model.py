"""Load a model and predict: ``model.onnx`` and ``signature.json``, from a directory or from ``model.tar.gz``.

The bytes that are hashed are the bytes that are loaded. An archive is never extracted: its two files are read into memory.
"""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.model import ModelSignature
from mlops_runtime.serving.model_archive import ArchiveError, read
from mlops_runtime.serving.served_model import (
    SIGNATURE_FILE,
    Matrix,
    ModelError,
    column_problems,
    declared_shape,
    first_line,
    kind_problems,
)

# from 1.29 on ONNX Runtime tells Microsoft what it runs, and keeps a device id on disk, unless this is set before it is loaded
# See: https://github.com/microsoft/onnxruntime/pull/27379
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

MODEL_FILE = "model.onnx"
MAX_MEMBER_BYTES = 2 * 1024**3  # ONNX's own limit: a protobuf message holds at most 2 GiB

_INPUT_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}
_OUTPUT_TYPES = ("tensor(float)", "tensor(double)")


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model. Safe to call from several threads.

    Args:
        signature: The columns in the order of the model's input.
        sha256: SHA-256 of ``model.onnx``, lower-case hexadecimal.
        session: The ONNX Runtime session.
        output: Name of the ONNX output that is the prediction.
        signature_sha256: SHA-256 of ``signature.json``, without which the same graph answers something else.

    Example:
        >>> model = load_directory(Path("/opt/ml/model"))  # doctest: +SKIP
        >>> model.predict(np.zeros((1, len(model.signature.inputs)), dtype=np.float32)).shape  # doctest: +SKIP
        (1,)
    """

    signature: ModelSignature
    sha256: str
    session: Any
    output: str
    signature_sha256: str = ""
    # asked of the session once: each answer is a new list of new objects
    _input: tuple[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        wanted = self.session.get_inputs()[0]
        object.__setattr__(self, "_input", (wanted.name, _INPUT_TYPES[wanted.type]))

    @property
    def manifest(self) -> None:
        """Plain ONNX has none."""

    def close(self) -> None:
        """Do nothing: the session ends with the last reference to it."""

    def predict(self, rows: Matrix) -> Matrix:
        """Return one prediction a row, a list where the signature declares one; of two probabilities the second.

        Args:
            rows: One row a record, columns in the signature's order; a null is NaN (numbers) or -1 (categories).

        Raises:
            ModelError: If the model's output is not what its signature declares.
        """
        name, kind = self._input
        answer = self.session.run([self.output], {name: rows.astype(kind, copy=False)})[0]
        return declared_shape(answer, len(rows), self.signature)


def load_directory(
    directory: Path, *, expected_sha256: str | None = None, expected_signature_sha256: str | None = None
) -> Model:
    """Load the model that lies unpacked in a directory, as SageMaker does with ``model.tar.gz``.

    Args:
        directory: Usually ``/opt/ml/model``.
        expected_sha256: What ``model.onnx`` must hash to. Default: not compared.
        expected_signature_sha256: What ``signature.json`` must hash to. Default: not compared.

    Raises:
        ModelError: If a file is missing, a hash differs, or the model does not fit its signature.
    """
    contents = []
    for name in (MODEL_FILE, SIGNATURE_FILE):
        try:
            contents.append((directory / name).read_bytes())
        except OSError as error:
            raise ModelError(f"cannot read {directory / name}: {error.strerror}") from error
    return load(
        contents[0],
        contents[1],
        expected_sha256=expected_sha256,
        expected_signature_sha256=expected_signature_sha256,
    )


def load_archive(archive: Path, *, expected_sha256: str | None = None) -> Model:
    """Load the model inside a ``model.tar.gz`` without extracting it.

    Raises:
        ModelError: If it is not an archive that `model_archive.unpack` takes with ``model.onnx`` and ``signature.json`` at its
            root, or as in `load_directory`.
    """
    try:
        with archive.open("rb") as packed:
            found = read(packed, (MODEL_FILE, SIGNATURE_FILE), max_bytes=MAX_MEMBER_BYTES)
    except (OSError, ArchiveError) as error:
        raise ModelError(f"cannot read {archive.name}: {error}") from error
    missing = [name for name in (MODEL_FILE, SIGNATURE_FILE) if name not in found]
    if missing:
        raise ModelError(f"{archive.name} does not hold {' and '.join(missing)} at its root")
    return load(found[MODEL_FILE], found[SIGNATURE_FILE], expected_sha256=expected_sha256)


def load(
    model: bytes,
    signature: bytes,
    *,
    expected_sha256: str | None = None,
    expected_signature_sha256: str | None = None,
) -> Model:
    """Load a model from its two files' bytes.

    Raises:
        ModelError: As in `load_directory`.
    """
    digest, signature_digest = (hashlib.sha256(content).hexdigest() for content in (model, signature))
    for name, found, expected in (
        (MODEL_FILE, digest, expected_sha256),
        (SIGNATURE_FILE, signature_digest, expected_signature_sha256),
    ):
        if expected is not None and found != expected.lower():
            raise ModelError(f"{name} has SHA-256 {found}, expected {expected}: not the model that was registered")
    try:
        parsed = from_json(ModelSignature, signature)
    except ContractError as error:
        raise ModelError(f"{SIGNATURE_FILE}: {error}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # calls run side by side; one call is too small to share
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises its own pybind types, all direct children of Exception
        raise ModelError(f"{MODEL_FILE} is not a model that ONNX Runtime can load: {first_line(error)}") from error
    problems = [*column_problems(parsed), *kind_problems(parsed), *_input_problems(session, parsed)]
    output = _output_name(session, parsed, problems)
    if problems:
        raise ModelError("; ".join(problems))
    return Model(signature=parsed, sha256=digest, session=session, output=output, signature_sha256=signature_digest)


def _input_problems(session: Any, signature: ModelSignature) -> list[str]:
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in _INPUT_TYPES or len(inputs[0].shape) != 2:
        got = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        return [f"{MODEL_FILE} must have one input, a matrix of tensor(float) or tensor(double); got {got}"]
    rows, width = inputs[0].shape
    problems = []
    if isinstance(rows, int):
        problems.append(f"{MODEL_FILE} takes exactly {rows} rows; export it with a free first dimension")
    if isinstance(width, int) and width != len(signature.inputs):
        problems.append(f"{MODEL_FILE} takes {width} columns, {SIGNATURE_FILE} declares {len(signature.inputs)}")
    if signature.passes == "values" and any(column.type == "category" for column in signature.inputs):
        problems.append(f'{MODEL_FILE} takes categories as codes; leave "passes" out of {SIGNATURE_FILE}')
    return problems


def _output_name(session: Any, signature: ModelSignature, problems: list[str]) -> str:
    outputs = {output.name: output.type for output in session.get_outputs()}
    # a model with one output needs no agreement on its name, which converters choose
    name = signature.output if signature.output in outputs or len(outputs) > 1 else next(iter(outputs))
    if name not in outputs:
        problems.append(f"{SIGNATURE_FILE} names output {name!r}, {MODEL_FILE} has {', '.join(map(repr, outputs))}")
    elif outputs[name] not in _OUTPUT_TYPES:
        problems.append(
            f"output {name!r} must be one of {', '.join(_OUTPUT_TYPES)}, got {outputs[name]} (export without zipmap)"
        )
    return name
