"""The console's files: what is vendored, what a browser may keep, how much it loads."""

import gzip
import hashlib
import json
import re

from mlops_runtime.console.page_files import HEADERS, INDEX, PAGES, POLICY, page_files

VENDOR = PAGES / "vendor"
MOST = 60_000  # bytes of all files, compressed


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


def test_all_of_it_is_light() -> None:
    """At most 60 KB, compressed."""
    sizes = {address: len(gzip.compress(each.content, mtime=0)) for address, each in page_files().items()}

    assert len(sizes) > 5
    assert sum(sizes.values()) <= MOST, sizes


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

    assert "unsafe" not in POLICY
    assert HEADERS["Content-Security-Policy"] == POLICY
    assert not re.search(r"<style|style=|<script>|\son\w+=", index)
    for path in (PAGES / "app").glob("*.js"):
        assert not re.search(r"innerHTML|dangerouslySet|\beval\(|new Function|https?://", path.read_text()), path.name
