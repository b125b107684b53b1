"""Every string of a monitor's window in turn is replaced by markup that a page must not execute or follow; the catalog's too.

Requests control names of columns, levels and problems; the registry controls other strings. A window with all strings
hostile is rendered in tests/runtime/monitor/page/test_window_page.py; the catalog is attacked in
tests/runtime/features/test_catalogue_page.py, a model card in tests/runtime/rollout/test_passport.py.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from html.parser import HTMLParser
from typing import Any

import pytest
from tests.runtime.monitor.reports import SAMPLES

from mlops_runtime.monitor.page.window_page import page

PAYLOAD = "x\"'><script>attack()</script><img src=x onerror=attack()><a href=javascript:attack()>{{ 977 * 983 }}&"
Path = tuple[Any, ...]


class _Tags(HTMLParser):
    """Collects everything that a browser would run, load or follow."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "img", "iframe", "object", "embed", "link", "base", "form", "foreignobject"}:
            self.found.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name in {"srcdoc", "formaction"}:
                self.found.append(f"{tag} {name}")
            if (
                name in {"href", "src", "xlink:href"}
                and "attack" in (value or "")
                and not (value or "").startswith("#")
            ):
                self.found.append(f"{tag} {name}={value}")
            if name == "style" and "attack" in (value or ""):
                self.found.append(f"{tag} style={value}")


def texts(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every string, including mapping keys."""
    if isinstance(value, Enum):
        return
    if isinstance(value, str):
        yield path
    elif is_dataclass(value):
        for each in fields(value):
            yield from texts(getattr(value, each.name), (*path, each.name))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(key, str) and not isinstance(key, Enum):
                yield (*path, ("key", key))
            yield from texts(inner, (*path, key))
    elif isinstance(value, tuple | list):
        for index, inner in enumerate(value):
            yield from texts(inner, (*path, index))


def poisoned(value: Any, path: Path) -> Any:
    """Return a copy with the payload at one path."""
    if not path:
        return PAYLOAD
    head, *rest = path
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{head: poisoned(getattr(value, head), tuple(rest))})
    if isinstance(value, Mapping):
        if isinstance(head, tuple):
            return {PAYLOAD if key == head[1] else key: inner for key, inner in value.items()}
        return {key: poisoned(inner, tuple(rest)) if key == head else inner for key, inner in value.items()}
    return type(value)(poisoned(inner, tuple(rest)) if index == head else inner for index, inner in enumerate(value))


def _kinds(path: Path) -> Path:
    """Return the path without indexes and keys, as strings of one kind are tried once."""
    return tuple("key" if isinstance(step, tuple) else "*" if isinstance(step, int) else step for step in path)


@pytest.mark.parametrize(
    ("name", "has_all"),
    [
        ("drifting", False),
        *(pytest.param(name, True, marks=pytest.mark.campaign) for name in ("drifting", "classifier")),
    ],
)
def test_no_text_of_a_window_leaves_its_place(name: str, has_all: bool) -> None:
    """It is shown as text, or the page rejects it; nothing is executed, loaded or linked."""
    sample = SAMPLES[name]()
    whole = {"report": sample.report, "baseline": sample.baseline, "counts": sample.counts, "history": sample.history}
    paths = {path if has_all else _kinds(path): path for path in texts(whole)}
    ran, refused = {}, []
    for kind, path in paths.items():
        parts = poisoned(whole, path)
        try:
            drawn = page(parts.pop("report"), **parts)
        except (ValueError, LookupError, TypeError) as error:
            refused.append((kind, error))
            continue
        found = [*_Tags(drawn).found, *(["template"] if "960391" in drawn else [])]
        if found:
            ran[kind] = found

    assert ran == {}
    assert len(paths) > (106 if has_all else 60)
    assert len(refused) < len(paths) / 4, refused
