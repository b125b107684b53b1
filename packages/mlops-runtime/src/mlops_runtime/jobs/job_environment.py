"""The environment of SageMaker jobs: arguments, the ``/opt/ml`` layout and ``SM_*`` variables, and how scripts run in it."""

import json
import os
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.retraining import SignaturePlan
from mlops_runtime.jobs.script_process import ScriptLimitError, ScriptLimits, run_process

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AppSpecification.html: arguments have at most 256 characters
MAXIMUM_ARGUMENT = 256

# hyperparameter with the signature plan for a script that writes no signature
SIGNATURE = "sagemaker_signature"
# names of the script's hyperparameter and prefix of the container's hyperparameters in SageMaker's toolkit:
# https://github.com/aws/sagemaker-training-toolkit/blob/master/src/sagemaker_training/params.py
PROGRAM = "sagemaker_program"
UNKNOWN = "unknown"  # argument for an unknown time
_CONTAINERS = "sagemaker_"

_MAX_MESSAGE = 1024  # SageMaker's limit on ExitMessage
# variables that would make another environment's interpreter use the packages of this one
_OF_THIS_PYTHON = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


def split_argument(text: str) -> list[str]:
    """Split a long argument into pieces that SageMaker accepts; the job joins them.

    No piece starts with a dash, which an argument parser would interpret as an option.

    Example:
        >>> split_argument("a" * 255 + "-b")
        ['aaaa...
    """
    pieces = []
    while text:
        size = min(MAXIMUM_ARGUMENT, len(text))
        while 1 < size < len(text) and text[size] == "-":
            size -= 1
        pieces.append(text[:size])
        text = text[size:]
    return pieces


class JobError(ValueError):
    """A job cannot run; the message has the value given, what is expected and where."""


@dataclass(frozen=True, slots=True)
class OptMl:
    """Paths of a job's files.

    Example:
        >>> OptMl.from_environment({}).model.as_posix()
        '/opt/ml/model'
    """

    root: Path  # `MLOPS_OPT_ML`. Default: `/opt/ml`

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "OptMl":
        """Read the root from ``MLOPS_OPT_ML``."""
        return cls(Path(environment.get("MLOPS_OPT_ML", "/opt/ml")))

    @property
    def model(self) -> Path:
        """Folder whose contents training uploads as ``model.tar.gz``."""
        return self.root / "model"

    @property
    def code(self) -> Path:
        """Folder for the extracted training code, as in SageMaker's own toolkit."""
        return self.root / "code"

    @property
    def checkpoints(self) -> Path:
        """Folder that SageMaker syncs to S3 during training and restores after a spot interruption."""
        return self.root / "checkpoints"

    @property
    def output_data(self) -> Path:
        """Folder whose contents become ``output.tar.gz``: files beside the model, ``metrics.json`` and ``metrics.csv``."""
        return self.root / "output" / "data"

    @property
    def failure(self) -> Path:
        """The file whose beginning becomes the training job's ``FailureReason``."""
        return self.root / "output" / "failure"

    @property
    def message(self) -> Path:
        """The file whose beginning (1 KB) becomes the processing job's ``ExitMessage``."""
        return self.root / "output" / "message"

    def refuse(self, job: str, error: Exception) -> int:
        """Report an error of a processing job on standard error and as its ``ExitMessage``; return the exit code.

        See: https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html
        """
        sys.stderr.write(f"mlops {job}: {error}\n")
        self.write_message(f"{job}: {error}"[:_MAX_MESSAGE])
        return 1

    def write_message(self, text: str) -> None:
        """Write the processing job's ``ExitMessage``."""
        self.message.parent.mkdir(parents=True, exist_ok=True)
        self.message.write_text(text)

    def channel(self, name: str) -> Path:
        """Return the directory of a training channel."""
        return self.root / "input" / "data" / name

    def processing_input(self, name: str) -> Path:
        """Return the directory of a processing input."""
        return self.root / "processing" / "input" / name

    def processing_output(self, name: str) -> Path:
        """Return the directory of a processing output."""
        return self.root / "processing" / "output" / name

    def hyperparameters(self) -> dict[str, object]:
        """Return the script's hyperparameters. SageMaker sends strings; those that are JSON are decoded, as in its toolkit.

        Hyperparameters that begin with ``sagemaker_`` are for the container and not included, as in the toolkit.
        """
        return {name: value for name, value in self._given().items() if not name.startswith(_CONTAINERS)}

    def program(self) -> str:
        """Return the script in the hyperparameter ``sagemaker_program``, or ``""``."""
        return str(self._given().get(PROGRAM, ""))

    def signature_plan(self) -> SignaturePlan | None:
        """Return how to write a signature, from the hyperparameter ``sagemaker_signature``, if set.

        Raises:
            JobError: If the hyperparameter is invalid.
        """
        given = self._given().get(SIGNATURE)
        if given is None:
            return None
        try:
            return from_json(SignaturePlan, json.dumps(given).encode())
        except ContractError as error:
            raise JobError(f"hyperparameter {SIGNATURE!r}: {error}") from error

    def _given(self) -> dict[str, object]:
        path = self.root / "input" / "config" / "hyperparameters.json"
        if not path.exists():
            return {}
        return {name: _decoded(value) for name, value in json.loads(path.read_text()).items()}

    def training_environment(self) -> dict[str, str]:
        """Return the ``SM_*`` variables of a training script: model, channels, hyperparameters, output."""
        data = self.root / "input" / "data"
        channels = sorted(path.name for path in data.iterdir() if path.is_dir()) if data.is_dir() else []
        hyperparameters = self.hyperparameters()
        return {
            "SM_MODEL_DIR": str(self.model),
            "MLOPS_CHECKPOINT_DIR": str(self.checkpoints),
            "SM_INPUT_DIR": str(self.root / "input"),
            "SM_INPUT_CONFIG_DIR": str(self.root / "input" / "config"),
            "SM_OUTPUT_DIR": str(self.root / "output"),
            "SM_OUTPUT_DATA_DIR": str(self.output_data),
            "SM_CHANNELS": json.dumps(channels),
            "SM_HPS": json.dumps(hyperparameters),
            "SM_NUM_CPUS": str(os.cpu_count() or 1),
            "SM_NUM_GPUS": "0",
            **{f"SM_CHANNEL_{_variable(name)}": str(self.channel(name)) for name in channels},
            **{f"SM_HP_{_variable(name)}": _encoded(value) for name, value in hyperparameters.items()},
        }


def single_file(directory: Path, pattern: str) -> Path:
    """Return the only file of a directory that matches.

    Raises:
        JobError: If no file or more than one matches.
    """
    found = sorted(path for path in directory.glob(pattern) if path.is_file())
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise JobError(f"{directory} must contain exactly one file {pattern}, got {names}")
    return found[0]


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _encoded(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def run_script(
    code: Path,
    script: str,
    *,
    folder: Path,
    environment: Mapping[str, str],
    python: Path | None = None,
    limits: ScriptLimits | None = None,
) -> None:
    """Unpack the code, one zip in a folder, and run a script of it, by default with this Python.

    Raises:
        JobError: If there is no such script, it fails, or it exceeds a limit; with the last lines of its standard error.
    """
    unpack(single_file(code, "*.zip"), folder)
    path = folder / script
    if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        held = ", ".join(sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.py"))) or "no scripts"
        raise JobError(f"channel code does not contain {script!r}, it contains {held}")
    inherited = {name: value for name, value in os.environ.items() if python is None or name not in _OF_THIS_PYTHON}
    try:
        returned, tail = run_process(
            [sys.executable if python is None else str(python), str(path)],
            folder=folder,
            environment={**inherited, **environment, "PYTHONUNBUFFERED": "1"},
            limits=ScriptLimits() if limits is None else limits,
        )
    except ScriptLimitError as error:
        raise JobError(f"{script} {error}") from error
    if returned != 0:
        last = next((line for line in reversed(tail) if line.strip()), "no output")
        raise JobError(f"{script} ended with exit code {returned}: {last.strip()}\n" + "\n".join(tail))


def only_script(job: str, arguments: Sequence[str]) -> str:
    """Return the single argument of a job that runs a script.

    Raises:
        JobError: If there is not exactly one argument.
    """
    if len(arguments) != 1:
        raise JobError(f"usage: python -m mlops_runtime.jobs.{job} <script>, got {list(arguments)}")
    return arguments[0]


def unpack(archive: Path, directory: Path) -> None:
    """Extract a zip of source files.

    Raises:
        JobError: If it is not a zip, or a member would be written outside the directory.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            escaping = [
                n for n in source.namelist() if ".." in PurePosixPath(n).parts or PurePosixPath(n).is_absolute()
            ]
            if escaping:
                raise JobError(
                    f"{archive.name} must not contain paths outside itself, got {', '.join(map(repr, escaping[:5]))}"
                )
            source.extractall(directory)
    except zipfile.BadZipFile as error:
        raise JobError(f"{archive.name} is not a zip: {error}") from error
