"""What the server needs of a model, of any library: a signature, hashes, and one prediction a row."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mlops_runtime.contracts.model import ModelSignature

Matrix = npt.NDArray[np.float32]
SIGNATURE_FILE = "signature.json"


class ModelError(ValueError):
    """A model cannot be served; the message says which file, what is wrong and what is expected."""


class SlowModelError(TimeoutError):
    """A model has not answered in time; the message says after how long."""


class ServedModel(Protocol):
    """A loaded model. Safe to call from several threads."""

    @property
    def signature(self) -> ModelSignature:
        """The columns in the order of the model's input."""

    @property
    def sha256(self) -> str:
        """SHA-256 of what the package names as the model."""

    def predict(self, rows: Matrix) -> Matrix:
        """Return one prediction a row.

        Args:
            rows: One row a record, columns in the signature's order; a null is NaN (numbers) or -1 (categories).

        Raises:
            ModelError: If the model does not give one prediction a row.
            SlowModelError: If it has not answered in time.
        """


def one_a_row(answer: npt.NDArray[Any], rows: int, signature: ModelSignature) -> Matrix:
    """Return a model's output as one prediction a row; of two columns of a model of probabilities the second.

    Example:
        >>> one_a_row(np.array([[1.0], [2.0]]), 2, ModelSignature(inputs=(), output="y")).tolist()
        [1.0, 2.0]

    Raises:
        ModelError: If it has another shape.
    """
    is_pair = answer.ndim == 2 and answer.shape[1] == 2
    if answer.ndim == 2 and (answer.shape[1] == 1 or (is_pair and signature.kind == "probability")):
        answer = answer[:, -1]
    if answer.shape != (rows,):
        fix = f'; {SIGNATURE_FILE} of a classifier with two probabilities says "kind": "probability"' if is_pair else ""
        raise ModelError(
            f"output {signature.output!r} has shape {answer.shape} for {rows} rows; one a row is expected{fix}"
        )
    return np.asarray(answer, dtype=np.float32)


def check_answer(model: ServedModel) -> None:
    """Ask for one prediction, so that a model that fails every call is refused before its server is ready.

    Raises:
        ModelError: If it fails, or does not give one prediction a row.
    """
    row = np.zeros((1, len(model.signature.inputs)), dtype=np.float32)
    try:
        model.predict(row)
    except ModelError:
        raise
    except Exception as error:  # the model may raise anything
        raise ModelError(f"the model cannot predict a row of zeros: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return str(error).partition("\n")[0]
