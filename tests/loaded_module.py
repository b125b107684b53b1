"""Modules that no package contains: handlers of functions and scripts, run from their file."""

import importlib.util
from pathlib import Path
from typing import Any

LAMBDAS = Path(__file__).parents[1] / "lambdas"


def load_module(path: Path) -> Any:
    """Run a file as a new module and return it; environment and clients are read again each time."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_handler(folder: str) -> Any:
    """Load a function's handler as Lambda does; set its environment before."""
    return load_module(LAMBDAS / folder / "handler.py")
