"""``python -m mlops_runtime.jobs.train <script>``: run a team's training script and check what it leaves.

The script lies in channel ``code`` as a zip. It reads ``SM_CHANNEL_TRAIN`` and writes ``model.onnx`` and ``signature.json`` to
``SM_MODEL_DIR``; a script that leaves anything else has not trained a model that can be served, and fails here.
"""

import os
import signal
import subprocess
import sys
import zipfile
from collections import deque
from pathlib import Path, PurePosixPath

import numpy as np

from mlops_runtime.jobs.optml import JobError, OptMl, single_file
from mlops_runtime.serving.model import ModelError, load_directory

_MAX_FAILURE_CHARACTERS = 1024  # SageMaker keeps this much of the file as FailureReason
_TAIL_LINES = 30


def train(opt_ml: OptMl, script: str) -> str:
    """Unpack the code, run the script in a process of its own, check the model. Returns the model's SHA-256.

    Args:
        opt_ml: The job's files.
        script: Path of the script inside the zip.

    Raises:
        JobError: If there is no such script, it fails, or it leaves no model that can be served.
    """
    unpack(single_file(opt_ml.channel("code"), "*.zip"), opt_ml.code)
    path = opt_ml.code / script
    if not path.is_file() or not path.resolve().is_relative_to(opt_ml.code.resolve()):
        held = (
            ", ".join(sorted(p.relative_to(opt_ml.code).as_posix() for p in opt_ml.code.rglob("*.py"))) or "no scripts"
        )
        raise JobError(f"channel code does not hold {script!r}, it holds {held}")
    opt_ml.model.mkdir(parents=True, exist_ok=True)
    code, tail = _run(path, opt_ml)
    if code != 0:
        last = next((line for line in reversed(tail) if line.strip()), "no output")
        raise JobError(f"{script} ended with exit code {code}: {last.strip()}\n" + "\n".join(tail))
    try:
        model = load_directory(opt_ml.model)
        model.predict(np.zeros((2, len(model.signature.inputs)), dtype=np.float32))
    except ModelError as error:
        raise JobError(f"{script} did not leave a model that can be served: {error}") from error
    return model.sha256


def unpack(archive: Path, directory: Path) -> None:
    """Extract a zip of source files.

    Raises:
        JobError: If it is no zip, or a member would be written outside the directory.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            escaping = [
                n for n in source.namelist() if ".." in PurePosixPath(n).parts or PurePosixPath(n).is_absolute()
            ]
            if escaping:
                raise JobError(
                    f"{archive.name} must not hold paths outside itself, got {', '.join(map(repr, escaping[:5]))}"
                )
            source.extractall(directory)
    except zipfile.BadZipFile as error:
        raise JobError(f"{archive.name} is not a zip: {error}") from error


def _run(script: Path, opt_ml: OptMl) -> tuple[int, list[str]]:
    environment = {**os.environ, **opt_ml.training_environment(), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, str(script)]
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    with subprocess.Popen(
        command, cwd=opt_ml.code, env=environment, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        # StopTrainingJob sends SIGTERM to this process; the script may want to save what it has
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        for line in process.stderr or ():
            sys.stderr.write(line)
            tail.append(line.rstrip("\n"))
        code = process.wait()
        signal.signal(signal.SIGTERM, before)
    return code, list(tail)


def _only(arguments: list[str]) -> str:
    if len(arguments) != 1:
        raise JobError(f"usage: python -m mlops_runtime.jobs.train <script>, got {arguments}")
    return arguments[0]


def main(arguments: list[str]) -> int:
    """Run the job. Returns the exit code; a failure is also written to ``/opt/ml/output/failure``."""
    opt_ml = OptMl.from_environment(os.environ)
    try:
        digest = train(opt_ml, _only(arguments))
    except JobError as error:
        opt_ml.failure.parent.mkdir(parents=True, exist_ok=True)
        opt_ml.failure.write_text(str(error)[:_MAX_FAILURE_CHARACTERS])
        sys.stderr.write(f"mlops train: {str(error).splitlines()[0]}\n")
        return 1
    sys.stderr.write(f"mlops train: model {digest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
