"""Write the libraries of the console's pages from npm packages, unchanged but for the listed replacements.

``npm pack preact@11.2.0 htm@3.1.1 uplot@1.6.32`` downloads the packages into a folder. ``python -m tools.vendored_pages FOLDER``
verifies each against npm's ``integrity`` in ``vendor/vendored.json``, and writes the files next to that list with their hashes. For
another version, change the versions and integrities there first. Pages cannot import modules by bare names, since an import map is
an inline script: the replacements turn such names into paths.
"""

import argparse
import base64
import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

VENDOR = Path(__file__).parents[1] / "packages/mlops-runtime/src/mlops_runtime/console/pages/vendor"
LIST = VENDOR / "vendored.json"


def made(entry: dict[str, Any], packages: Path) -> bytes:
    """Return the content of a file of the list.

    Args:
        entry: The file's entry in the list.
        packages: Folder of the packages.

    Raises:
        SystemExit: If the package's integrity differs from the list, or a replacement does not match exactly once.
    """
    archive = packages / f"{entry['package'].replace('@', '-')}.tgz"
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != entry["integrity"]:
        raise SystemExit(f"{archive.name} has the integrity sha512-{digest}; the list says {entry['integrity']}")
    with tarfile.open(archive) as opened:
        member = opened.extractfile(entry["member"])
        assert member is not None  # noqa: S101 - a folder of a package is not on the list
        text = member.read().decode()
    for old, new in entry.get("replaced", {}).items():
        if text.count(old) != 1:
            raise SystemExit(f"{entry['member']} of {entry['package']} has {old!r} {text.count(old)} times, not once")
        text = text.replace(old, new)
    return text.encode()


def main() -> None:
    """Write the files and their hashes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("packages", type=Path, help="Folder of the packages.")
    packages = parser.parse_args().packages
    entries = json.loads(LIST.read_text())
    for name, entry in entries.items():
        content = made(entry, packages)
        (VENDOR / name).write_bytes(content)
        entry["sha256"] = hashlib.sha256(content).hexdigest()
    LIST.write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    main()
