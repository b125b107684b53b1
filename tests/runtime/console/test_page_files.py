"""The console's files: vendored code, browser caching and size."""

import gzip
import hashlib
import json
import posixpath
import re
from collections.abc import Mapping

from mlops_runtime.console.page_files import HEADERS, INDEX, PAGES, PageFile, content_policy, page_files

VENDOR = PAGES / "vendor"
MOST = 60_000  # bytes of a page, compressed
_STATIC = r"""\bfrom\s*["']([\w@./-]+\.js)["']"""
_DYNAMIC = r"""\bimport\(["']([\w@./-]+\.js)["']\)"""


def test_libraries_are_those_of_npm() -> None:
    """Each is listed with its hash and licence; to make them again, or others: ``tools/vendored_pages.py``."""
    listed = json.loads((VENDOR / "vendored.json").read_text())
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.iterdir()
        if path.name != "vendored.json"
    }

    assert found == {name: entry["sha256"] for name, entry in listed.items()}
    packages = {entry["package"].partition("@")[0] for entry in listed.values()}
    assert {f"LICENSE.{name}" for name in packages} <= set(found)


def test_every_page_is_light() -> None:
    """With the frame, the style, and what it loads when it is opened: at most 60 KB, compressed; the first at most half of that."""
    files = page_files()
    (folder,) = {address.rpartition("/app/")[0] for address in files if address.endswith("/app/main.js")}
    main = f"{folder}/app/main.js"
    frame = {address for address in files if not address.endswith(".js")} | imported(files, {main}, _STATIC)
    pages = imported(files, {main}, _DYNAMIC) - {main}
    sizes = {
        page.rpartition("/")[2]: sum(
            len(gzip.compress(files[each].content, mtime=0))
            for each in frame
            | imported(files, {page}, _STATIC)
            | imported(files, imported(files, {page}, _STATIC), _DYNAMIC)
        )
        for page in pages
    }

    assert len(sizes) == 9
    assert {page: size for page, size in sizes.items() if size > MOST} == {}
    assert sizes["models.js"] <= MOST / 2


def imported(files: Mapping[str, PageFile], start: set[str], pattern: str) -> set[str]:
    """Return files with those that they import: one by the other where the imports are static, else the next ones alone."""
    found = set(start)
    waiting = list(start)
    while waiting:
        address = waiting.pop()
        for name in re.findall(pattern, files[address].content.decode()):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(address), name))
            if target not in found:
                found.add(target)
                if pattern == _STATIC:
                    waiting.append(target)
    return found


def test_every_address_that_a_file_names_exists() -> None:
    """Of the index by its tags, of modules by their imports; no import needs a map."""
    files = page_files()
    index = files[INDEX].content.decode()
    named = re.findall(r'(?:src|href)="([^"]+)"', index)

    assert len(named) >= 4
    assert [address for address in named if address not in files] == []
    missing = []
    for address, each in files.items():
        if address.endswith(".js"):
            for name in re.findall(r"""(?:from|import)\s*\(?\s*["']([\w@./-]+)["']""", each.content.decode()):
                parts = address.split("/")[:-1]
                for step in name.split("/"):
                    parts = parts[:-1] if step == ".." else parts if step == "." else [*parts, step]
                if not name.startswith(".") or "/".join(parts) not in files:
                    missing.append((address, name))
    assert missing == []


def test_only_the_index_is_asked_for_again() -> None:
    """The others stand under a hash of all of them and never change."""
    files = page_files()

    assert files[INDEX].cache_control == "no-store"
    others = [address for address in files if address != INDEX]
    assert all(re.match(r"/static/[0-9a-f]{16}/", address) for address in others)
    assert {files[address].cache_control for address in others} == {"public, max-age=31536000, immutable"}


def test_nothing_is_inline() -> None:
    """A script or a style in the page itself would need a hole in the policy."""
    index = page_files()[INDEX].content.decode()

    assert "unsafe" not in content_policy()
    assert HEADERS["Content-Security-Policy"] == content_policy()
    assert not re.search(r"<style|style=|<script>|\son\w+=", index)
    for path in (PAGES / "app").glob("*.js"):
        assert not re.search(r"innerHTML|dangerouslySet|\beval\(|new Function|https?://", path.read_text()), path.name
