"""``train``, the command that SageMaker runs in an image: run a team's training script and check the model that it writes.

SageMaker starts a training container as ``docker run IMAGE train``, without arguments. The hyperparameter ``sagemaker_program``
(or the variable ``SAGEMAKER_PROGRAM``), as in SageMaker's own toolkit, names the script. Channel ``code`` has the script in a zip.
It reads ``SM_CHANNEL_TRAIN`` and writes ``model.onnx`` and ``signature.json`` to ``SM_MODEL_DIR``.

In an image with a model environment (``MLOPS_REQUIREMENTS_SHA256``) the script runs with that environment's Python. It may write
any supported model: the job writes ``mlops-model.json``, which binds every file, and a ``signature.json`` of the training split
if the script wrote none. The job fails if the model cannot be loaded or cannot predict.

See: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-dockerfile.html
and https://github.com/aws/sagemaker-training-toolkit#readme
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model import ModelSignature
from mlops_runtime.contracts.retraining import SignaturePlan
from mlops_runtime.jobs.job_environment import JobError, OptMl, run_script
from mlops_runtime.jobs.model_input import read_split
from mlops_runtime.jobs.script_process import ScriptLimits
from mlops_runtime.jobs.training_signature import signature_of
from mlops_runtime.retraining.training_metrics import log_line, read_folder
from mlops_runtime.serving.mlflow_folder import mlflow_entry
from mlops_runtime.serving.mlflow_folder import signature_of as mlflow_signature
from mlops_runtime.serving.model_folder import MANIFEST_FILE, hash_of, manifest_of, recognised, write_manifest
from mlops_runtime.serving.model_source import ModelEnvironment, load_folder
from mlops_runtime.serving.onnx_model import MODEL_FILE
from mlops_runtime.serving.served_model import SIGNATURE_FILE, ModelError, check_answer

# unpacked; the gate copies at most 5 GiB packed, the limit of S3's CopyObject
MAX_MODEL_BYTES = 10 * 1024**3
_MAX_FAILURE_CHARACTERS = 1024  # SageMaker's limit on FailureReason
_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def train(
    opt_ml: OptMl, script: str, environment: ModelEnvironment | None = None, plan: SignaturePlan | None = None
) -> str:
    """Unpack the code, run the script in a separate process, and pack and check the model; ONNX needs no environment.

    Return the model's SHA-256; for a third-party container, that of its signature.

    Raises:
        JobError: If there is no such script, it fails, or it writes no model that can be served.
    """
    of = ModelEnvironment() if environment is None else environment
    opt_ml.model.mkdir(parents=True, exist_ok=True)
    opt_ml.checkpoints.mkdir(parents=True, exist_ok=True)
    opt_ml.output_data.mkdir(parents=True, exist_ok=True)
    split = _state(opt_ml.channel("train"))
    limits = ScriptLimits(output=opt_ml.model, output_bytes=MAX_MODEL_BYTES)
    run_script(
        opt_ml.channel("code"),
        script,
        folder=opt_ml.code,
        environment=opt_ml.training_environment(),
        python=None if of.requirements_sha256 is None else of.python,
        limits=limits,
    )
    _check_left(opt_ml.model, script, limits)
    planned = opt_ml.signature_plan() if plan is None else plan
    if planned is not None and not (opt_ml.model / SIGNATURE_FILE).exists():
        _check_kept(split, opt_ml.channel("train"), script)
        (opt_ml.model / SIGNATURE_FILE).write_bytes(canonical_json(_signature(opt_ml, planned, script)))
    if planned is not None and planned.loaded_by == "container":
        return _left_for_container(opt_ml.model, script)
    try:
        _pack(opt_ml.model, of)
        model = load_folder(opt_ml.model, of)
        try:
            check_answer(model)
        finally:
            model.close()
    except ModelError as error:
        raise JobError(f"{script} did not leave a model that can be served: {error}") from error
    return model.sha256


def _check_left(folder: Path, script: str, limits: ScriptLimits) -> None:
    """Raise if a folder cannot be read in finite time: too large, or with pipes and devices."""
    problem = limits.problem()
    if problem is not None:
        raise JobError(f"{script} {problem}")
    if folder.is_symlink() or not folder.is_dir():
        raise JobError(f"{script} replaced the folder SM_MODEL_DIR; write files into it instead")
    odd = [path for path in sorted(folder.rglob("*")) if not (path.is_file() or path.is_dir() or path.is_symlink())]
    if odd:
        raise JobError(
            f"{script} left something other than a file in SM_MODEL_DIR: {odd[0].relative_to(folder).as_posix()}; "
            "write only files and folders"
        )


def _state(channel: Path) -> Mapping[str, tuple[int, int]]:
    """Return size and ctime, which a program cannot set, of a split's files."""
    found = {path.name: path.stat() for path in sorted(channel.glob("*.parquet"))}
    return {name: (status.st_size, status.st_ctime_ns) for name, status in found.items()}


def _check_kept(before: Mapping[str, tuple[int, int]], channel: Path, script: str) -> None:
    """Raise if the script changed the rows that the model's signature is derived from."""
    after = _state(channel)
    deleted = sorted(before.keys() - after.keys())
    changed = sorted(name for name in before.keys() & after.keys() if before[name] != after[name])
    if deleted or changed:
        did = " and ".join(
            f"{word} {', '.join(names)}" for word, names in (("deleted", deleted), ("changed", changed)) if names
        )
        raise JobError(
            f"{script} {did} in SM_CHANNEL_TRAIN, from which the model's {SIGNATURE_FILE} is derived; do not change the channel: "
            f"write to SM_OUTPUT_DATA_DIR, or write your own {SIGNATURE_FILE}"
        )


def _left_for_container(folder: Path, script: str) -> str:
    """Return the hash of the signature in a folder with a model for a third-party container."""
    if [path.name for path in folder.iterdir()] == [SIGNATURE_FILE]:
        raise JobError(
            f"{script} left no model beside {SIGNATURE_FILE}; write what the container loads to SM_MODEL_DIR"
        )
    return hash_of(folder / SIGNATURE_FILE)


def _signature(opt_ml: OptMl, plan: SignaturePlan, script: str) -> ModelSignature:
    """Return the signature of the training split; for an MLflow model, with the columns that it declares itself."""
    split = read_split(opt_ml.channel("train"))
    signature = signature_of(
        split, plan, has_values=plan.loaded_by is not None or not (opt_ml.model / MODEL_FILE).exists()
    )
    entry = mlflow_entry(opt_ml.model)
    if entry is None:
        return signature
    known = {column.name: column.categories for column in signature.inputs}
    try:
        return replace(signature, inputs=mlflow_signature(entry, output=signature.output, categories=known).inputs)
    except ModelError as error:
        raise JobError(f"{script} did not leave a model that can be served: {error}") from error


def _pack(folder: Path, environment: ModelEnvironment) -> None:
    """Write the manifest of a model that is not ONNX, replacing any that the script wrote."""
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    if (folder / MODEL_FILE).exists():
        return
    if environment.requirements_sha256 is None:
        try:
            flavor = recognised(folder).flavor
        except ModelError:
            return  # the loader of ONNX reports what is missing
        raise ModelError(
            f"it is of flavor {flavor!r}, and this image has no environment for a model that is not ONNX: set the job's image to "
            "ModelImage.from_requirements(lock)"
        )
    manifest = manifest_of(
        folder, requirements_sha256=environment.requirements_sha256, python=_version(environment.python)
    )
    write_manifest(folder, manifest)


def _version(python: Path) -> str:
    try:
        done = subprocess.run([str(python), "-I", "-c", _VERSION], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ModelError(f"the model's environment cannot run {python}: {error}") from error
    return done.stdout.strip()


def program(opt_ml: OptMl, arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the path of the script in the zip, from the argument, the variable or the hyperparameter, in this order.

    Raises:
        JobError: If there is no script, or more than one argument.
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
        digest = train(opt_ml, program(opt_ml, arguments, os.environ), ModelEnvironment.from_variables(os.environ))
    except (JobError, ModelError) as error:
        written = read_folder(opt_ml.output_data)
        if written is not None:
            sys.stderr.write(f"{log_line(written)}\n")
        _report(opt_ml, str(error)[:_MAX_FAILURE_CHARACTERS])
        sys.stderr.write(f"mlops train: {str(error).splitlines()[0]}\n")
        return 1
    sys.stderr.write(f"mlops train: model {digest}\n")
    return 0


def _report(opt_ml: OptMl, reason: str) -> None:
    """Write the reason of a failure; on a full disk, delete the failed training's model to make space."""
    try:
        opt_ml.failure.parent.mkdir(parents=True, exist_ok=True)
        opt_ml.failure.write_text(reason)
    except OSError:
        shutil.rmtree(opt_ml.model, ignore_errors=True)
        opt_ml.failure.write_text(reason)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
