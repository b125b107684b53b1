"""The image of models in other formats than ONNX: its additions to the image of jobs and servers, decided by its lock."""

import re
from pathlib import Path

from tests.containers.test_model_image import DOCKERFILE, instructions

from mlops_runtime.image.image_build import write_context
from mlops_runtime.image.requirements_lock import IMAGE_PYTHON, RequirementsLock
from mlops_runtime.serving.model_source import ModelEnvironment

FILE = (
    Path(__file__).parents[2] / "packages/mlops-runtime/src/mlops_runtime/image/containers/environment/Dockerfile"
).read_text()
LOCK = RequirementsLock.parsed(f"numpy==2.5.5 --hash=sha256:{'0a' * 32}\n".encode())


def test_it_extends_the_image_of_jobs_and_servers() -> None:
    """The environment is built on the same base digest, with the Python of its lock; the runtime comes from the build arguments."""
    bases = [arguments.split()[0] for name, arguments in instructions(FILE) if name == "FROM"]
    assert bases[-1] == "${RUNTIME}"
    assert bases[0] in {arguments.split()[0] for name, arguments in instructions(DOCKERFILE) if name == "FROM"}
    assert re.search(r"python:(\d+\.\d+)", bases[0]).group(1) == IMAGE_PYTHON  # type: ignore[union-attr]


def test_it_installs_wheels_by_hash_where_the_server_looks() -> None:
    """Only wheels with hashes are installed; server and jobs find interpreter and lock."""
    steps = instructions(FILE)
    (installed,) = (a for n, a in steps if n == "RUN" and "pip install" in a)
    assert "--require-hashes --only-binary :all: -r /opt/model/requirements.lock" in installed
    (copied,) = (arguments.split() for name, arguments in steps if name == "COPY" and "--from=" in arguments)
    assert copied[1:] == ["/opt/model", "/opt/model"]
    variables = dict(word.split("=", 1) for word in [a for n, a in steps if n == "ENV"][-1].split())
    assert variables["MLOPS_REQUIREMENTS_SHA256"] == "${REQUIREMENTS_SHA256}"
    assert Path(variables["MLOPS_MODEL_PYTHON"]) == ModelEnvironment.from_variables(variables).python
    assert ModelEnvironment().python == Path(variables["MLOPS_MODEL_PYTHON"])


def test_the_context_names_the_lock_that_it_holds(tmp_path: Path) -> None:
    """A build cannot omit its hash; another lock has another tag."""
    context = write_context("model", tmp_path / "context", LOCK)
    names = sorted(path.name for path in context.folder.iterdir())
    assert names == [".dockerignore", "Dockerfile", "requirements.lock"]
    assert (context.folder / "requirements.lock").read_bytes() == LOCK.content
    steps = instructions((context.folder / "Dockerfile").read_text())
    declared = [arguments for name, arguments in steps if name == "ARG" and arguments.startswith("REQUIREMENTS_SHA256")]
    # before the first stage with the value, in each stage without
    assert declared == [f"REQUIREMENTS_SHA256={LOCK.sha256}", "REQUIREMENTS_SHA256", "REQUIREMENTS_SHA256"]
    other = RequirementsLock.parsed(LOCK.content.replace(b"0a", b"0b"))
    assert write_context("model", tmp_path / "other", other).tag != context.tag
