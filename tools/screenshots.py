"""Take the documentation's screenshots with headless Chromium: ``python -m tools.screenshots demo-report.html``."""

import subprocess
import sys
import tempfile
from pathlib import Path

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"


def take(page: Path, image: Path, *, width: int = 1100, height: int = 900) -> None:
    """Write a picture of a page that needs no network.

    Args:
        page: The HTML file.
        image: The PNG to write.
        width: Of the window, in pixels.
        height: Of the window, in pixels.

    Raises:
        subprocess.CalledProcessError: If Chromium fails.
    """
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--user-data-dir={profile}",
                "--host-resolver-rules=MAP * ~NOTFOUND",
                f"--window-size={width},{height}",
                f"--screenshot={image}",
                page.resolve().as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )


if __name__ == "__main__":
    take(Path(sys.argv[1]), IMAGES / "demo_report.png")
