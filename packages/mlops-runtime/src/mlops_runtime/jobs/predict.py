"""``python -m mlops_runtime.jobs.predict``: predict a holdout with one model, in the image that the model requires.

The champion may require another image than the candidate. It predicts in this job, and the evaluation reads its predictions.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np

from mlops_runtime.contracts.model import HoldoutPredictions
from mlops_runtime.jobs.holdout_predictions import Predicted, holdout_sha256, write_predictions
from mlops_runtime.jobs.job_environment import JobError, OptMl, single_file
from mlops_runtime.jobs.model_input import model_input, read_split, require_columns
from mlops_runtime.serving.model_folder import hash_of
from mlops_runtime.serving.model_source import ModelEnvironment, archived_model
from mlops_runtime.serving.served_model import ModelError, first_line


def predict(archive: Path, holdout: Path, environment: ModelEnvironment, *, artifact_sha256: str) -> Predicted:
    """Return a model's predictions for the Parquet files of a holdout; if it fails, NaN with the reason.

    Raises:
        JobError: If the archive is not the expected one, or the holdout lacks a column.
        ModelError: If the model fails to load.
    """
    found = hash_of(archive)
    if found != artifact_sha256:
        raise JobError(f"the model has SHA-256 {found}, expected {artifact_sha256}; find out who wrote it")
    table, failure = read_split(holdout), None
    with archived_model(archive, environment) as model:
        require_columns(table, [column.name for column in model.signature.inputs], "holdout")
        rows = model_input(table, model.signature)
        try:
            values = model.predict(rows).astype(np.float64)
        except Exception as error:  # the model may raise anything
            values, failure = np.full(table.num_rows, np.nan), first_line(error)
        of = HoldoutPredictions(
            artifact_sha256=found,
            model_sha256=model.sha256,
            holdout_sha256=holdout_sha256(holdout),
            failure=failure,
            names=model.signature.names,
        )
    return Predicted(values=values, of=of)


def main(arguments: list[str]) -> int:
    """Run the job. Returns the exit code; a user error is one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m mlops_runtime.jobs.predict")
    parser.add_argument("--artifact-sha256", required=True, help="hash of the archive in input model")
    options = parser.parse_args(arguments)
    opt_ml = OptMl.from_environment(os.environ)
    try:
        predicted = predict(
            single_file(opt_ml.processing_input("model"), "*.tar.gz"),
            opt_ml.processing_input("holdout"),
            ModelEnvironment.from_variables(os.environ).of_champion(),
            artifact_sha256=options.artifact_sha256,
        )
    except (JobError, ModelError) as error:
        return opt_ml.refuse("predict", error)
    write_predictions(opt_ml.processing_output("predictions"), predicted)
    sys.stderr.write(f"mlops predict: {len(predicted.values)} rows of model {predicted.of.model_sha256}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
