"""Pictures of pages that the documentation shows: each was taken by a test, of the page as it is now."""

import re
from pathlib import Path

import pytest
from tests.console import pictures
from tests.console.pictures import AGAIN, PICTURES, ROOT, Picture, problems


def shown() -> set[str]:
    """Return the names of pictures that README and pages show."""
    texts = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    return {name for each in texts for name in re.findall(r"images/(\w+)\.png", each.read_text(encoding="utf-8"))}


def test_every_picture_is_of_the_page_as_it_is() -> None:
    """None is missing, none was made by hand, and none shows other words than its page has."""
    assert shown() == {each.name for each in PICTURES}
    assert problems() == [], AGAIN


def test_a_page_that_says_something_else_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By a new title alone; another way to write the same words is not."""
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
