"""A page of another site in Chromium: nothing it can send without permission changes the embedded cloud."""

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlops_local.cloud import Cloud

FLAGS = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking"
REBOUND = "rebound.example"
# the parts of a signature that a page can know: key id, scope and form
QUERY = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=test/20260101/us-east-1/{}/aws4_request&X-Amz-Signature=00"
TRUST = '{"Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}'
QUERY_CALLS = [
    ("iam", {"Action": "CreateUser", "UserName": "page", "Version": "2010-05-08"}),
    ("iam", {"Action": "CreateRole", "RoleName": "page", "AssumeRolePolicyDocument": TRUST, "Version": "2010-05-08"}),
    ("sqs", {"Action": "CreateQueue", "QueueName": "page", "Version": "2012-11-05"}),
    ("sns", {"Action": "CreateTopic", "Name": "page", "Version": "2010-03-31"}),
    ("ec2", {"Action": "CreateVpc", "CidrBlock": "10.9.0.0/16", "Version": "2016-11-15"}),
    ("cloudformation", {"Action": "CreateStack", "StackName": "page", "TemplateBody": "{}", "Version": "2010-05-15"}),
]
PAGE = """<!doctype html><iframe name="sink"></iframe><script>
const attempts = ATTEMPTS, bases = BASES, results = {sent: 0}
function form(url, fields, type) {
  const form = document.createElement('form')
  Object.assign(form, {method: 'POST', action: url, enctype: type, target: 'sink'})
  for (const [name, value] of Object.entries(fields)) {
    const input = document.createElement('input')
    Object.assign(input, {type: 'hidden', name, value})
    form.append(input)
  }
  document.body.append(form)
  results.sent++
  const frame = document.querySelector('iframe')
  return new Promise(done => { frame.onload = done; setTimeout(done, 3000); form.submit() })
}
const quiet = promise => { results.sent++; return promise.catch(() => {}) }
const loaded = (tag, url) => { results.sent++; return new Promise(done => {
  const element = document.createElement(tag)
  element.onload = element.onerror = done
  setTimeout(done, 3000)
  element.src = url
  document.body.append(element)
})}
async function attack(base) {
  for (const {method, path, body, fields} of attempts) {
    const url = base + path
    if (method === 'GET') {
      await loaded('img', url)
      await loaded('iframe', url)
      await quiet(fetch(url, {mode: 'no-cors', credentials: 'include'}))
      continue
    }
    if (fields) for (const type of ['application/x-www-form-urlencoded', 'multipart/form-data', 'text/plain'])
      await form(url, fields, type)
    const text = body ?? new URLSearchParams(fields).toString()
    const kinds = fields ? ['text/plain', 'application/x-www-form-urlencoded'] : ['text/plain']
    for (const kind of kinds)
      await quiet(fetch(url, {method, mode: 'no-cors', body: new Blob([text], {type: kind})}))
    navigator.sendBeacon(url, new Blob([text], {type: 'text/plain'}))
    results.sent++
    // what asks first: no answer may allow it
    await quiet(fetch(url, {method, body: text, headers: {'x-amz-target': 'DynamoDB_20120810.ListTables'}})
      .then(() => { results.allowed = url }))
  }
  await quiet(new Promise(done => {
    const socket = new WebSocket(base.replace('http', 'ws') + '/_aws/execute-api/abcdef01/stage')
    socket.onopen = () => { results.opened = base; done() }
    socket.onerror = done
  }))
}
(async () => {
  for (const base of bases) await attack(base)
  await fetch('/done', {method: 'POST', body: JSON.stringify(results)})
})()
</script>"""


def attempts() -> list[dict[str, Any]]:
    """Return the page's attempts: on AWS's API, with and without a forged query signature, on MiniStack's and on ours."""
    made: list[dict[str, Any]] = []
    for service, fields in QUERY_CALLS:
        made += [{"method": "POST", "path": path, "fields": fields} for path in ("/", f"/?{QUERY.format(service)}")]
    function = {"FunctionName": "page", "Runtime": "python3.13", "Handler": "a.b", "Role": "arn:aws:iam::000000000000:role/page",
                "Code": {"ZipFile": ""}}  # fmt: skip
    for path in ("/2015-03-31/functions", f"/2015-03-31/functions?{QUERY.format('lambda')}"):
        made.append({"method": "POST", "path": path, "body": json.dumps(function)})
    made += [
        {"method": "POST", "path": f"/page-bucket?{QUERY.format('s3')}", "fields": {"key": "page", "file": "x"}},
        {"method": "POST", "path": "/kept", "fields": {"key": "page", "file": "x"}},
        {"method": "POST", "path": "/_ministack/reset", "fields": {"a": "b"}},
        {"method": "POST", "path": f"/_ministack/reset?{QUERY.format('s3')}", "fields": {"a": "b"}},
        {"method": "POST", "path": "/_ministack/config", "body": '{"cloudtrail._recording_enabled": true}'},
        {"method": "POST", "path": "/_mlops/clock", "body": '{"scale": 77}'},
        {"method": "POST", "path": "/_mlops/quotas", "body": '{"ml.m5.large for endpoint usage": 1}'},
        {"method": "POST", "path": "/_mlops/endpoint_services", "body": '["states"]'},
        {"method": "POST", "path": "/v2/page/blobs/uploads/", "fields": {"a": "b"}},
        {"method": "GET", "path": "/kept/key"},
        {"method": "GET", "path": "/_mlops/clock"},
        {"method": "GET", "path": "/_ministack/health"},
        {"method": "GET", "path": "/?Action=CreateUser&UserName=page&Version=2010-05-08"},
        {"method": "GET", "path": f"/?Action=CreateUser&UserName=page&Version=2010-05-08&{QUERY.format('iam')}"},
    ]
    return made


class Site(ThreadingHTTPServer):
    """The page's own server, which also counts the same attempts, to show that they are really sent."""

    daemon_threads = True
    page = b""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.results: dict[str, Any] = {}
        self.done = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/done":
            self.server.results = json.loads(body)
            self.server.done.set()
        self.server.seen.append((self.command, self.path))
        content = self.server.page if self.path == "/page" else b""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_OPTIONS = _answer  # noqa: N815 - names of http.server

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def sites() -> Iterator[tuple[Site, Site]]:
    """The site of the page, and another site that accepts every request."""
    made = Site(), Site()
    yield made
    for site in made:
        site.shutdown()
        site.server_close()


def state(cloud: Cloud) -> dict[str, Any]:
    """Read the state that the page would change."""
    lists: dict[str, tuple[str, str, str]] = {
        "users": ("iam", "list_users", "Users"),
        "roles": ("iam", "list_roles", "Roles"),
        "queues": ("sqs", "list_queues", "QueueUrls"),
        "topics": ("sns", "list_topics", "Topics"),
        "networks": ("ec2", "describe_vpcs", "Vpcs"),
        "stacks": ("cloudformation", "list_stacks", "StackSummaries"),
        "functions": ("lambda", "list_functions", "Functions"),
        "buckets": ("s3", "list_buckets", "Buckets"),
        "repositories": ("ecr", "describe_repositories", "repositories"),
        "services": ("ec2", "describe_vpc_endpoint_services", "ServiceNames"),
    }
    found = {name: getattr(cloud.client(of), call)().get(key, []) for name, (of, call, key) in lists.items()}
    kept = cloud.client("s3").list_objects_v2(Bucket="kept")["Contents"]
    scale, quotas = cloud.call("/_mlops/clock")["scale"], cloud.call("/_mlops/quotas")
    return {**found, "objects": kept, "scale": scale, "quotas": quotas}


def test_a_page_changes_nothing(own_cloud: Callable[..., Cloud], sites: tuple[Site, Site], tmp_path: Path) -> None:
    """Forms, fetches, images, frames, beacons and sockets at each address, by its own name and by a rebound name: 0 effects."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed; apt-get install chromium")
    cloud, (site, other) = own_cloud(), sites
    cloud.client("s3").create_bucket(Bucket="kept")
    cloud.client("s3").put_object(Bucket="kept", Key="key", Body=b"content")
    names = ("127.0.0.1", "localhost", REBOUND)
    bases = [f"http://127.0.0.1:{other.port}", *(f"http://{name}:{cloud.port}" for name in names)]
    site.page = PAGE.replace("ATTEMPTS", json.dumps(attempts())).replace("BASES", json.dumps(bases)).encode()
    before = state(cloud)
    rules = f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1,MAP evil.example 127.0.0.1"
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    url = f"http://evil.example:{site.port}/page"
    with (tmp_path / "log").open("wb") as log:
        browser = subprocess.Popen(
            [chromium, *FLAGS.split(), rules, profile, "--no-proxy-server", url], stdout=log, stderr=log
        )
        try:
            assert site.done.wait(300), (tmp_path / "log").read_text()[-2000:]
        finally:
            browser.terminate()
            browser.wait(30)

    each = site.results["sent"] // len(bases)
    arrived = [row for row in other.seen if row[0] in {"GET", "POST"}]
    assert each > 100
    assert len(arrived) > 0.75 * each  # all but preflighted requests; the same requests go to the embedded cloud
    assert "allowed" not in site.results
    assert "opened" not in site.results
    assert state(cloud) == before
