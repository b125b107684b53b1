"""Write the images' ``requirements.txt`` with hashes, at the tested versions of ``uv.lock``.

Run ``python -m tools.image_requirements``. Packages that ``uv.lock`` lacks (httptools and uvloop, for the server's event loop) get
their newest versions. The image ``explain`` is built on this image: its file has only the additional packages, at compatible
versions.
"""

import re
import subprocess
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "packages/mlops-runtime/src/mlops_runtime/image/containers/model"
EXPLAIN = FOLDER.parent / "explain"
LOCK = ROOT / "uv.lock"
PYTHON = "3.13"
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")


def tested() -> dict[str, str]:
    """Return the versions of ``uv.lock``, the newest if they differ by Python version."""
    found: dict[str, str] = {}
    for package in tomllib.loads(LOCK.read_text())["package"]:
        if "registry" in package["source"]:
            found[package["name"]] = max(found.get(package["name"], "0"), package["version"], key=_key)
    return found


def _key(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def locked(folder: Path, platform: str, constraints: Path) -> str:
    """Return the requirements of a platform, only as wheels since the image has no compiler."""
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
        [*command, str(folder / "requirements.in")], check=True, capture_output=True, text=True
    ).stdout


def both(folder: Path, versions: dict[str, str]) -> str:
    """Return the common requirements of both platforms."""
    with tempfile.TemporaryDirectory() as name:
        constraints = Path(name) / "constraints.txt"
        constraints.write_text("".join(f"{package}=={version}\n" for package, version in versions.items()))
        texts = {locked(folder, platform, constraints) for platform in PLATFORMS}
    if len(texts) != 1:
        raise SystemExit("the platforms have different requirements; give each its own file")
    return texts.pop()


def packages(text: str) -> dict[str, str]:
    """Return each package's lines, with its hashes."""
    return {re.split("==", lines)[0]: lines for lines in re.split(r"\n(?=\S)", text.strip())}


def main() -> None:
    """Write both files."""
    image = both(FOLDER, tested())
    (FOLDER / "requirements.txt").write_text(image)
    there = {name: lines.split()[0].partition("==")[2] for name, lines in packages(image).items()}
    added = [lines for name, lines in packages(both(EXPLAIN, tested() | there)).items() if name not in there]
    (EXPLAIN / "requirements.txt").write_text("\n".join(added) + "\n")


if __name__ == "__main__":
    main()
