"""Take the documentation's screenshots with headless Chromium.

``python -m tools.screenshots demo-report.html`` takes the page of ``mlops demo``; after ``mlops demo --keep``,
``python -m tools.screenshots ADDRESS`` takes the console at the address that ``mlops console --home .mlops/demo`` has printed.
"""

import shutil
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


def take_console(address: str) -> None:
    """Write pictures of the demo's model and of its second package, as the console shows them.

    Args:
        address: What ``mlops console`` has printed.
    """
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - of the console alone

    model = "/units/demand/endpoints/demand-forecast"
    pages = {
        "console_model": model,
        "console_drift": f"{model}/drift",
        "console_package": "/packages/demand-forecast/2",
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(color_scheme="light", viewport={"width": 1180, "height": 900})
        for name, path in pages.items():
            page.goto("about:blank")
            page.goto(f"{address}&to={path}")
            page.get_by_role("heading", level=1).wait_for()
            page.locator("main:not(:has([role=status]:text-matches('^Reading')))").wait_for()
            page.screenshot(path=IMAGES / f"{name}.png", animations="disabled")
        browser.close()


if __name__ == "__main__":
    if sys.argv[1].startswith("http"):
        take_console(sys.argv[1])
    else:
        take(Path(sys.argv[1]), IMAGES / "demo_report.png")
