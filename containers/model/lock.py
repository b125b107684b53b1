"""``python containers/model/lock.py``: write ``requirements.txt``, with hashes, at the versions that ``uv.lock`` tests with.

What ``uv.lock`` does not have (httptools and uvloop, which make the server's own loop) is the newest.
"""

import re
import subprocess
import tempfile
import tomllib
from pathlib import Path

FOLDER = Path(__file__).parent
LOCK = FOLDER.parents[1] / "uv.lock"
PYTHON = "3.13"
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")


def tested() -> dict[str, str]:
    """Return the versions of ``uv.lock``; of several, for several Pythons, the newest."""
    found: dict[str, str] = {}
    for package in tomllib.loads(LOCK.read_text())["package"]:
        if "registry" in package["source"]:
            found[package["name"]] = max(found.get(package["name"], "0"), package["version"], key=_key)
    return found


def _key(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def locked(platform: str, constraints: Path) -> str:
    """Return the requirements of a platform; wheels alone, since the image has no compiler."""
    command = [
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--generate-hashes",
        "--no-annotate",
        "--no-header",
        "--only-binary",
        ":all:",
    ]
    command += ["--python-version", PYTHON, "--python-platform", platform, "--constraints", str(constraints)]
    return subprocess.run(
        [*command, str(FOLDER / "requirements.in")], check=True, capture_output=True, text=True
    ).stdout


def main() -> None:
    """Write the file, if both platforms have the same."""
    with tempfile.TemporaryDirectory() as name:
        constraints = Path(name) / "constraints.txt"
        constraints.write_text("".join(f"{package}=={version}\n" for package, version in tested().items()))
        texts = {locked(platform, constraints) for platform in PLATFORMS}
    if len(texts) != 1:
        raise SystemExit("the platforms have different requirements; give each its own file")
    (FOLDER / "requirements.txt").write_text(texts.pop())


if __name__ == "__main__":
    main()
