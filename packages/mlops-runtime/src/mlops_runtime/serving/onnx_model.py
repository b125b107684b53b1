"""Load an ONNX model and predict: ``model.onnx`` and ``signature.json``, from a directory or from ``model.tar.gz``.

The loaded bytes are those that were hashed. An archive is never extracted: its two files are read into memory.
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

# ONNX Runtime 1.29 and later send telemetry to Microsoft and store a device id, unless this is set before loading it
# See: https://github.com/microsoft/onnxruntime/pull/27379
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

MODEL_FILE = "model.onnx"
MAX_MEMBER_BYTES = 2 * 1024**3  # ONNX's own limit: protobuf messages have at most 2 GiB

_INPUT_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}
_OUTPUT_TYPES = ("tensor(float)", "tensor(double)")


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded model. It is thread-safe.

    Args:
        signature: The columns in the order of the model's input.
        sha256: SHA-256 of ``model.onnx``, lower-case hexadecimal.
        session: The ONNX Runtime session.
        output: Name of the ONNX output with the prediction.
        signature_sha256: SHA-256 of ``signature.json``, which affects predictions as much as the graph.

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
    # cached, because the session creates new objects for each call
    _input: tuple[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        wanted = self.session.get_inputs()[0]
        object.__setattr__(self, "_input", (wanted.name, _INPUT_TYPES[wanted.type]))

    @property
    def manifest(self) -> None:
        """None, because plain ONNX has no manifest."""

    def close(self) -> None:
        """Do nothing: the session ends with the last reference to it."""

    def predict(self, rows: Matrix) -> Matrix:
        """Return one prediction per row, a list if the signature declares one; of two probabilities the second.

        Args:
            rows: One row per record, columns in the signature's order; a null is NaN (numbers) or -1 (categories).

        Raises:
            ModelError: If the model's output differs from its signature.
        """
        name, kind = self._input
        answer = self.session.run([self.output], {name: rows.astype(kind, copy=False)})[0]
        return declared_shape(answer, len(rows), self.signature)


def load_directory(
    directory: Path, *, expected_sha256: str | None = None, expected_signature_sha256: str | None = None
) -> Model:
    """Load an unpacked model from a directory, where SageMaker extracts ``model.tar.gz``.

    Args:
        directory: Usually ``/opt/ml/model``.
        expected_sha256: Expected hash of ``model.onnx``. Default: not compared.
        expected_signature_sha256: Expected hash of ``signature.json``. Default: not compared.

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
        contents[0], contents[1], expected_sha256=expected_sha256, expected_signature_sha256=expected_signature_sha256
    )


def load_archive(archive: Path, *, expected_sha256: str | None = None) -> Model:
    """Load the model in a ``model.tar.gz`` without extracting it.

    Raises:
        ModelError: If the archive is invalid for `model_archive.unpack` or lacks ``model.onnx`` or ``signature.json`` at its
            root, or as in `load_directory`.
    """
    try:
        with archive.open("rb") as packed:
            found = read(packed, (MODEL_FILE, SIGNATURE_FILE), max_bytes=MAX_MEMBER_BYTES)
    except (OSError, ArchiveError) as error:
        raise ModelError(f"cannot read {archive.name}: {error}") from error
    missing = [name for name in (MODEL_FILE, SIGNATURE_FILE) if name not in found]
    if missing:
        raise ModelError(f"{archive.name} lacks {' and '.join(missing)} at its root")
    return load(found[MODEL_FILE], found[SIGNATURE_FILE], expected_sha256=expected_sha256)


def load(
    model: bytes, signature: bytes, *, expected_sha256: str | None = None, expected_signature_sha256: str | None = None
) -> Model:
    """Load a model from the bytes of its two files.

    Raises:
        ModelError: As in `load_directory`.
    """
    digest, signature_digest = (hashlib.sha256(content).hexdigest() for content in (model, signature))
    for name, found, expected in (
        (MODEL_FILE, digest, expected_sha256),
        (SIGNATURE_FILE, signature_digest, expected_signature_sha256),
    ):
        if expected is not None and found != expected.lower():
            raise ModelError(f"{name} has SHA-256 {found}, expected {expected}: not the registered model")
    try:
        parsed = from_json(ModelSignature, signature)
    except ContractError as error:
        raise ModelError(f"{SIGNATURE_FILE}: {error}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # calls run in parallel; a single call is too small to split
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
        problems.append(f'{MODEL_FILE} takes categories as codes; remove "passes" from {SIGNATURE_FILE}')
    return problems


def _output_name(session: Any, signature: ModelSignature, problems: list[str]) -> str:
    outputs = {output.name: output.type for output in session.get_outputs()}
    # the name of a single output need not match, because converters choose it
    name = signature.output if signature.output in outputs or len(outputs) > 1 else next(iter(outputs))
    if name not in outputs:
        problems.append(f"{SIGNATURE_FILE} names output {name!r}, {MODEL_FILE} has {', '.join(map(repr, outputs))}")
    elif outputs[name] not in _OUTPUT_TYPES:
        problems.append(
            f"output {name!r} must be one of {', '.join(_OUTPUT_TYPES)}, got {outputs[name]} (export without zipmap)"
        )
    return name
