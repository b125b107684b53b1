"""A file with the predictions of one model for one holdout, written in the model's own image and read in another."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_runtime.contracts import ContractError, canonical_json, content_hash, from_json
from mlops_runtime.contracts.model import HoldoutPredictions
from mlops_runtime.jobs.job_environment import JobError
from mlops_runtime.serving.model_folder import hash_of

PREDICTIONS_FILE = "predictions.parquet"
_COLUMN = "prediction"
_METADATA = b"mlops.predictions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """Predictions, one per row of the holdout, with their metadata."""

    values: npt.NDArray[np.float64]
    of: HoldoutPredictions


def holdout_sha256(folder: Path) -> str:
    """Return the hash of a holdout: of the names and hashes of its files."""
    return content_hash({path.name: hash_of(path) for path in sorted(folder.glob("*.parquet"))})


def write_predictions(folder: Path, predicted: Predicted) -> Path:
    """Write predictions to a folder, which is created, and return the file."""
    values = predicted.values
    column = values if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(values.reshape(-1), values.shape[1])
    table = pa.table({_COLUMN: column}).replace_schema_metadata({_METADATA: canonical_json(predicted.of)})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PREDICTIONS_FILE
    pq.write_table(table, path)
    return path


def differences(found: tuple[str, str, int], expected: tuple[str | None, str, int]) -> str:
    """Return how predictions differ from the expected archive, holdout and number of rows.

    Example:
        >>> differences(("a1", "h1", 3), ("a1", "h2", 4))
        'of holdout h1, expected h2; rows 3, expected 4'
    """
    named = zip(("of archive", "of holdout", "rows"), found, expected, strict=True)
    return "; ".join(f"{what} {one}, expected {wanted}" for what, one, wanted in named if one != wanted)


def read_predictions(path: Path, *, artifact_sha256: str | None, holdout: str, rows: int) -> Predicted:
    """Read a model's predictions for a holdout, given the expected hashes of its archive and the holdout.

    Raises:
        JobError: With every difference from the expected values.
    """
    try:
        table = pq.read_table(path)
        of = from_json(HoldoutPredictions, (table.schema.metadata or {}).get(_METADATA, b""))
    except (pa.ArrowException, OSError, ContractError) as error:
        raise JobError(f"{path.name} must be a file that the predict job wrote: {error}") from error
    wrong = differences((of.artifact_sha256, of.holdout_sha256, table.num_rows), (artifact_sha256, holdout, rows))
    if wrong:
        raise JobError(f"{path.name} has predictions {wrong}; remove it, so that it is written again")
    column = table.column(_COLUMN).combine_chunks()
    is_list = pa.types.is_fixed_size_list(column.type)
    values = column.flatten() if is_list else column
    found = values.to_numpy(zero_copy_only=False).astype(np.float64)
    return Predicted(values=found.reshape(-1, column.type.list_size) if is_list else found, of=of)
