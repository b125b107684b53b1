"""``python -m mlops_runtime.jobs.process <script>``: run a team's preprocessing script between training set and training.

Input ``code`` has the script in a zip. It reads ``SM_CHANNEL_TRAIN`` and writes to ``SM_OUTPUT_DIR``, which becomes a channel of
the training. In an image with a model environment it runs with that environment's Python. A script that writes no file fails.
"""

import os
import sys
from pathlib import Path

from mlops_runtime.jobs.job_environment import JobError, OptMl, only_script, run_script
from mlops_runtime.jobs.script_process import ScriptLimits
from mlops_runtime.serving.model_source import ModelEnvironment
from mlops_runtime.serving.served_model import ModelError

OUTPUT = "processed"


def process(opt_ml: OptMl, script: str, python: Path | None = None) -> int:
    """Run the script, by default with this Python. Returns the number of files that it wrote.

    Raises:
        JobError: If there is no such script, it fails, or it writes nothing.
    """
    output = opt_ml.processing_output(OUTPUT)
    output.mkdir(parents=True, exist_ok=True)
    environment = {"SM_CHANNEL_TRAIN": str(opt_ml.processing_input("train")), "SM_OUTPUT_DIR": str(output)}
    run_script(
        opt_ml.processing_input("code"),
        script,
        folder=opt_ml.code,
        environment=environment,
        python=python,
        limits=ScriptLimits(output=output),
    )
    written = sum(path.is_file() for path in output.rglob("*"))
    if not written:
        raise JobError(f"{script} must write files to SM_OUTPUT_DIR, got none")
    return written


def main(arguments: list[str]) -> int:
    """Run the job. Returns the exit code; a failure is one line on standard error."""
    try:
        of = ModelEnvironment.from_variables(os.environ)
        python = None if of.requirements_sha256 is None else of.python
        written = process(OptMl.from_environment(os.environ), only_script("process", arguments), python)
    except (JobError, ModelError) as error:
        sys.stderr.write(f"mlops process: {str(error).splitlines()[0]}\n")
        return 1
    sys.stderr.write(f"mlops process: {written} files\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
