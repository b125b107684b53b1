# /// script
# requires-python = ">=3.11,<3.15"
# dependencies = ["model-signing==1.1.1", "pyopenssl"]
# ///
"""Verify a signed archive with OpenSSF's stock ``model_signing``, whole and with each of its bytes changed.

It has an environment of its own: ``uv sync --script tests/local/foreign/model_signing_calls.py``; ``pyopenssl`` is an undeclared
dependency. The only argument is JSON: paths of ``archive``, ``signature`` and public ``key``. Prints one line of JSON:
``command``, the command's output and exit code, and the offsets of undetected byte changes in archive and signature.
"""

import json
import subprocess
import sys
from pathlib import Path

from model_signing import verifying

GIVEN = {name: Path(path) for name, path in json.loads(sys.argv[1]).items()}


def is_accepted() -> bool:
    """Whether the stock verifier accepts the files."""
    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=GIVEN["key"])
        verifier.verify(GIVEN["archive"], GIVEN["signature"])
    except Exception:  # any error means that it does not accept
        return False
    return True


def unnoticed(path: Path) -> list[int]:
    """Change each byte in turn; return the offsets where the change is accepted."""
    whole = path.read_bytes()
    found = []
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        if is_accepted():
            found.append(place)
    path.write_bytes(whole)
    return found


def main() -> None:
    """Print the results."""
    arguments = [str(GIVEN["archive"]), "--signature", str(GIVEN["signature"]), "--public_key", str(GIVEN["key"])]
    command = [sys.executable, "-m", "model_signing", "verify", "key", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    found = {name: unnoticed(GIVEN[name]) for name in ("archive", "signature")}
    answer = {"command": [result.returncode, (result.stdout + result.stderr).strip()], **found}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
