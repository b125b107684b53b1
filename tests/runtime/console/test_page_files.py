"""The console's files: vendored code, browser caching, size, and their publication in a distribution's bucket."""

import gzip
import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mlops_runtime.console.page_files import (
    HEADERS,
    INDEX,
    PAGES,
    PageFile,
    PagePublication,
    content_policy,
    page_document,
    page_files,
)

VENDOR = PAGES / "vendor"
MOST = 60_000  # bytes of a page, compressed
_STATIC = r"""\bfrom\s*["']([\w@./-]+\.js)["']"""
_DYNAMIC = r"""\bimport\(["']([\w@./-]+\.js)["']\)"""
EVENT = {
    "RequestType": "Create",
    "LogicalResourceId": "Pages",
    "ResourceProperties": {"Config": '{"signIn": {"kind": "cognito"}, "api": "/api"}'},
}
Answers = list[dict[str, Any]]


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


class Published:
    """A publication into a bucket, and what CloudFormation was answered."""

    def __init__(self, bucket: str) -> None:
        self.s3 = boto3.client("s3", region_name="us-east-1")
        self.answers: Answers = []
        self.publication = PagePublication(s3=self.s3, bucket=bucket, document=page_document().text)

    def handle(self, **changes: Any) -> dict[str, Any]:
        """Handle a request, and return the answer."""
        self.publication.handle({**EVENT, **changes}, lambda _, **answer: self.answers.append(answer))
        return self.answers[-1]

    def object(self, key: str) -> tuple[bytes, str, str]:
        """Content, type and how long a browser may keep it."""
        found = self.s3.get_object(Bucket="pages", Key=key)
        return found["Body"].read(), found["ContentType"], found["CacheControl"]


@pytest.fixture
def published() -> Any:
    """A bucket without files."""
    with mock_aws():
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="pages")
        yield Published("pages")


def test_the_bucket_has_what_the_local_console_serves(published: Published) -> None:
    """To the byte, with the same headers, and the configuration uncached as the index."""
    answer = published.handle()

    assert answer == {"physical_id": "pages/index.html", "failure": None}
    for address, file in page_files().items():
        key = "index.html" if address == "/" else address[1:]
        assert published.object(key) == (file.content, file.content_type, file.cache_control)
    content, kind, cached = published.object("config.json")
    assert json.loads(content) == {"signIn": {"kind": "cognito"}, "api": "/api"}
    assert (kind, cached) == ("application/json", "no-store")


def test_the_index_comes_last(published: Published) -> None:
    """Until then a browser gets the release before, whose files stay."""
    keys: list[str] = []
    published.s3.put_object(Bucket="pages", Key="static/old/app.js", Body=b"old")
    published.s3.meta.events.register(
        "provide-client-params.s3.PutObject", lambda params, **_: keys.append(params["Key"])
    )
    published.handle(RequestType="Update")

    assert keys[-2:] == ["config.json", "index.html"]
    assert published.s3.get_object(Bucket="pages", Key="static/old/app.js")["Body"].read() == b"old"


def test_a_deletion_leaves_the_bucket_to_its_own_policy(published: Published) -> None:
    """The bucket is emptied by its unit, or stays."""
    assert published.handle(RequestType="Delete")["failure"] is None
    assert published.s3.list_objects_v2(Bucket="pages")["KeyCount"] == 0


def test_cloudformation_gets_the_reason_of_a_failure(published: Published) -> None:
    """It would wait an hour otherwise."""
    published.s3.delete_bucket(Bucket="pages")

    assert "NoSuchBucket" in published.handle()["failure"]
