"""The explanation image: its additions to the image of models, and their compatibility."""

import re
from pathlib import Path

from tests.containers.test_model_image import DOCKERFILE, instructions

from mlops_runtime.image.image_build import write_context

FOLDER = Path(__file__).parents[2] / "packages/mlops-runtime/src/mlops_runtime/image/containers/explain"
FILE = (FOLDER / "Dockerfile").read_text()


def pinned(path: Path) -> dict[str, str]:
    """Return each package's version; every package has hashes."""
    lines = path.read_text().replace("\\\n", " ").splitlines()
    found = [re.fullmatch(r"([a-z0-9-]+)==(\S+)(?:\s+--hash=sha256:[0-9a-f]{64})+\s*", line) for line in lines]
    assert all(found), path
    return {match[1]: match[2] for match in found if match}


def test_it_adds_shap_and_what_the_image_of_models_lacks() -> None:
    """With hashes, and without packages of the base image, because a second version of numpy would conflict."""
    added, there = pinned(FOLDER / "requirements.txt"), pinned(FOLDER.parent / "model" / "requirements.txt")
    assert "shap" in added
    assert added.keys() & there.keys() == set()
    # imports of shap and pandas, in either image
    needed = {
        "numpy",
        "scipy",
        "scikit-learn",
        "pandas",
        "tqdm",
        "slicer",
        "cloudpickle",
        "packaging",
        "python-dateutil",
    }
    assert needed <= added.keys() | there.keys()


def test_it_is_built_for_the_python_of_the_image_that_it_extends() -> None:
    """The same base digest; the builder passes the runtime's digest; hashes are required."""
    steps = instructions(FILE)
    bases = [arguments.split()[0] for name, arguments in steps if name == "FROM"]
    assert bases[-1] == "${RUNTIME}"
    assert bases[0] in {arguments.split()[0] for name, arguments in instructions(DOCKERFILE) if name == "FROM"}
    assert all("--require-hashes" in a and "--no-deps" in a for n, a in steps if n == "RUN" and "pip install" in a)
    (copied,) = (arguments.split() for name, arguments in steps if name == "COPY" and "--from=" in arguments)
    python = re.search(r"python:(\d+\.\d+)", bases[0])
    assert python is not None
    assert copied[-1] == f"/opt/venv/lib/python{python[1]}/site-packages"


def test_nothing_but_its_requirements_reaches_the_build(tmp_path: Path) -> None:
    """The context contains only copied files, and no tool."""
    context = write_context("explain", tmp_path / "context")
    assert sorted(path.name for path in context.folder.iterdir()) == [".dockerignore", "Dockerfile", "requirements.txt"]
