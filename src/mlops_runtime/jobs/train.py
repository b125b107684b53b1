"""``python -m mlops_runtime.jobs.train <script>``: run a team's training script and check what it leaves.

The script lies in channel ``code`` as a zip. It reads ``SM_CHANNEL_TRAIN`` and writes ``model.onnx`` and ``signature.json`` to
``SM_MODEL_DIR``; a script that leaves anything else has not trained a model that can be served, and fails here.
"""

import os
import sys

import numpy as np

from mlops_runtime.jobs.optml import JobError, OptMl
from mlops_runtime.jobs.script import only_script, run_script
from mlops_runtime.serving.model import ModelError, load_directory

_MAX_FAILURE_CHARACTERS = 1024  # SageMaker keeps this much of the file as FailureReason


def train(opt_ml: OptMl, script: str) -> str:
    """Unpack the code, run the script in a process of its own, check the model. Returns the model's SHA-256.

    Args:
        opt_ml: The job's files.
        script: Path of the script inside the zip.

    Raises:
        JobError: If there is no such script, it fails, or it leaves no model that can be served.
    """
    opt_ml.model.mkdir(parents=True, exist_ok=True)
    opt_ml.checkpoints.mkdir(parents=True, exist_ok=True)
    run_script(opt_ml.channel("code"), script, folder=opt_ml.code, environment=opt_ml.training_environment())
    try:
        model = load_directory(opt_ml.model)
        model.predict(np.zeros((2, len(model.signature.inputs)), dtype=np.float32))
    except ModelError as error:
        raise JobError(f"{script} did not leave a model that can be served: {error}") from error
    return model.sha256


def main(arguments: list[str]) -> int:
    """Run the job. Returns the exit code; a failure is also written to ``/opt/ml/output/failure``."""
    opt_ml = OptMl.from_environment(os.environ)
    try:
        digest = train(opt_ml, only_script("train", arguments))
    except JobError as error:
        opt_ml.failure.parent.mkdir(parents=True, exist_ok=True)
        opt_ml.failure.write_text(str(error)[:_MAX_FAILURE_CHARACTERS])
        sys.stderr.write(f"mlops train: {str(error).splitlines()[0]}\n")
        return 1
    sys.stderr.write(f"mlops train: model {digest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
