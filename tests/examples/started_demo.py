"""The demo as a user starts it, in a checkout with its own ``.mlops``."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mlops_local import cloud as local_cloud

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedDemo:
    """Output, page, and the folder of the embedded cloud that the demo left running."""

    ended: subprocess.CompletedProcess[str]
    page: Path
    home: Path


@contextmanager
def started_demo(folder: Path, *options: str) -> Iterator[StartedDemo]:
    """Run the demo once with ``--keep --json``, and stop its processes after the block.

    Args:
        folder: An empty folder.
        options: Further options.
    """
    for each in ROOT.iterdir():
        if each.name != ".mlops":  # a developer's own demo may be there
            (folder / each.name).symlink_to(each)
    page, home = folder / "page.html", folder / ".mlops" / "demo"
    command = [sys.executable, "-m", "mlops_cli", "demo", *options, "--keep", "--json", "--output", str(page)]
    try:
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        yield StartedDemo(ended=ended, page=page, home=home)
    finally:
        with suppress(local_cloud.CloudError):
            local_cloud.connect(home).down(forget=True)
