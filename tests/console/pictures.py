"""Pictures of the documentation: their sources, and the words that show when a picture is outdated.

Pictures are not compared pixel by pixel, because fonts differ between machines. ``pictures.json`` stores for each
picture the words of its page's source when it was taken (titles, headings, labels, buttons), so that a page with other
words needs a new picture and a refactored page does not; and the hash of the file, so that only taken pictures are
shown.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from mlops_runtime.console.page_files import PAGES

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
TAKEN = IMAGES / "pictures.json"
AGAIN = "take them again: MLOPS_UPDATE_PICTURES=1 pytest tests/examples/test_demo.py -m demo"
_SAID = re.compile(
    r"""title="([^"<>${}]+)"|label="([^"<>${}]+)"|name: '([^'<>${}]+)'|\['([a-z][^'<>${}]+)', (?:html|row|review|data|overview)"""
    r"""|<h[12][^>]*>([^<{$]+)|<button[^>]*>([^<{$]+)"""
)


@dataclass(frozen=True)
class Picture:
    """One picture: the files whose words it shows, and its page in the console; empty for the demo's own page."""

    name: str
    sources: tuple[Path, ...]
    path: str = ""

    @property
    def file(self) -> Path:
        """The picture."""
        return IMAGES / f"{self.name}.png"

    def words(self) -> list[str]:
        """Return the words of its sources, without data."""
        text = "".join(each.read_text(encoding="utf-8") for each in self.sources)
        return sorted({word.strip() for found in _SAID.findall(text) for word in found if word.strip()})


def _pages(*names: str) -> tuple[Path, ...]:
    return tuple(PAGES / "app" / f"{name}.js" for name in names)


PICTURES = (
    Picture("console_model", _pages("model"), "/units/demand/endpoints/demand-forecast"),
    Picture("console_package", _pages("approval"), "/packages/demand-forecast/2"),
    Picture(
        "demo_report", tuple(ROOT / "examples" / "retail" / f"{name}.html.jinja" for name in ("page_frame", "page"))
    ),
)


def taken() -> dict[str, dict[str, object]]:
    """Return the stored words and hash of each picture."""
    found: dict[str, dict[str, object]] = json.loads(TAKEN.read_text())
    return found


def write_down() -> None:
    """Store the current words of the pictures."""
    found = {each.name: {"words": each.words(), "sha256": _sha256(each.file)} for each in PICTURES}
    TAKEN.write_text(json.dumps(found, indent=1) + "\n")


def problems() -> list[str]:
    """Return the problems of the committed pictures."""
    known = taken()
    found = []
    for each in PICTURES:
        if not each.file.is_file():
            found.append(f"{each.file.name} is missing")
        elif each.name not in known or known[each.name]["sha256"] != _sha256(each.file):
            found.append(f"{each.file.name} was not taken by the test")
        elif known[each.name]["words"] != each.words():
            changed = sorted(set(each.words()) ^ set(map(str, known[each.name]["words"])))  # type: ignore[call-overload]
            found.append(f"{each.file.name} is of an older page; it differs in {', '.join(changed)}")
    return found


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
