"""The ``shap`` package, which nothing but the explaining job needs: ``.ci/run`` puts it below ``.venv/share/explain``.

What needs it skips with a reason where it is missing.
"""

import os
import sys
from pathlib import Path

import pytest

HOME = Path(sys.prefix) / "share" / "explain"


def require() -> Path:
    """Make ``shap`` importable, and return the folder that a process of its own needs on its path."""
    if not (HOME / "shap").is_dir():
        pytest.skip(f"shap is not below {HOME}; .ci/run installs it")
    # numba takes longer to compile shap's loops than they run over these few rows; the job's own process compiles them
    os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
    if str(HOME) not in sys.path:
        sys.path.append(str(HOME))
    return HOME
