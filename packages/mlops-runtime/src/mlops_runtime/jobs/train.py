"""``train``, the command that SageMaker runs of an image: run a team's training script and check what it leaves.

SageMaker starts a training container as ``docker run IMAGE train``, without arguments. The hyperparameter ``sagemaker_program``
(or the variable ``SAGEMAKER_PROGRAM``), as in SageMaker's own toolkit, names the script. The script lies in channel ``code`` as a
zip. It reads ``SM_CHANNEL_TRAIN`` and writes ``model.onnx`` and ``signature.json`` to ``SM_MODEL_DIR``; a script that leaves
anything else has not trained a model that can be served, and fails here.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-dockerfile.html
and https://github.com/aws/sagemaker-training-toolkit#readme
"""

import os
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from mlops_runtime.jobs.job_environment import JobError, OptMl, run_script
from mlops_runtime.serving.onnx_model import load_directory
from mlops_runtime.serving.served_model import ModelError

_MAX_FAILURE_CHARACTERS = 1024  # SageMaker keeps this much of the file as FailureReason


def train(opt_ml: OptMl, script: str) -> str:
    """Unpack the code, run the script in a process of its own, check the model. Returns the model's SHA-256.

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


def program(opt_ml: OptMl, arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the path of the script inside the zip: the one argument, the variable or the hyperparameter, in this order.

    Raises:
        JobError: If nothing names a script, or several arguments do.
    """
    if len(arguments) > 1:
        raise JobError(f"usage: train [<script>], got {list(arguments)}")
    named = arguments[0] if arguments else environment.get("SAGEMAKER_PROGRAM") or opt_ml.program()
    if not named:
        raise JobError("no script: set the hyperparameter 'sagemaker_program' to the script's path in channel code")
    return named


def main(arguments: list[str]) -> int:
    """Run the job. Returns the exit code; a failure is also written to ``/opt/ml/output/failure``."""
    opt_ml = OptMl.from_environment(os.environ)
    try:
        digest = train(opt_ml, program(opt_ml, arguments, os.environ))
    except JobError as error:
        opt_ml.failure.parent.mkdir(parents=True, exist_ok=True)
        opt_ml.failure.write_text(str(error)[:_MAX_FAILURE_CHARACTERS])
        sys.stderr.write(f"mlops train: {str(error).splitlines()[0]}\n")
        return 1
    sys.stderr.write(f"mlops train: model {digest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
