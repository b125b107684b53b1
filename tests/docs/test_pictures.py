"""Screenshots in the documentation: each was taken by a test and shows the current page."""

import re
from pathlib import Path

import pytest
from tests.console import pictures
from tests.console.pictures import AGAIN, PICTURES, ROOT, Picture, problems


def shown() -> set[str]:
    """Return the names of pictures in README and pages."""
    texts = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    return {name for each in texts for name in re.findall(r"images/(\w+)\.png", each.read_text(encoding="utf-8"))}


def test_every_picture_is_of_the_page_as_it_is() -> None:
    """No picture is missing, made by hand, or shows other text than its page."""
    assert shown() == {each.name for each in PICTURES}
    assert problems() == [], AGAIN


def test_a_page_that_says_something_else_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A changed title makes a picture stale; other markup of the same text does not."""
    model = PICTURES[0]
    text = "".join(each.read_text() for each in model.sources)
    (tmp_path / "same.js").write_text(text.replace("\n", "\n\n"))
    (tmp_path / "other.js").write_text(text + '<${Card} id="new" title="Something new">')

    def with_source(name: str) -> list[str]:
        changed = Picture(model.name, (tmp_path / name,), model.path)
        monkeypatch.setattr(pictures, "PICTURES", (changed, *PICTURES[1:]))
        return problems()

    assert with_source("same.js") == []
    assert with_source("other.js") == ["console_model.png is of an older page; it differs in Something new"]
