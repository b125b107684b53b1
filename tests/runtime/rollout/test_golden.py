"""Golden requests: the checks, what counts as a failure, and platform errors, which do not."""

import hashlib
import json
import math
import random
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.capture import announcement_prefix, nonce_of
from mlops_runtime.contracts.serving import GoldenRequest, GoldenSpec
from mlops_runtime.monitor.counting.announced import read_announcement
from mlops_runtime.rollout.golden_rehearsal import RETRIES, ROUNDS, GoldenCaller, GoldenCallError

NEW, LIVE = "demand-forecast-golden-4588cf62", "demand-forecast"
ASKED = {"now": "2017-08-01T09:00:00Z", "execution": "arn:aws:states:us-east-1:1:execution:Deploy:x"}
KEPT = "rehearsals/demand-forecast/kept.json"
Answer = tuple[int, bytes, str]
Model = Callable[[list[Any]], Answer]
ONE = GoldenRequest(name="one", body='{"instances": [[2.0]]}', rows=1, minimum=0, maximum=10)
BATCH = GoldenRequest(name="batch", body='{"instances": [[1.0], [2.0], [3.0]]}', rows=3, minimum=0)
ONE_CSV = GoldenRequest(name="csv", body="4.0\n5.0\n", rows=2, content_type="text/csv")
ERRORS = {
    400: "ValidationError",
    500: "InternalFailure",
    503: "ServiceUnavailable",
    530: "InternalDependencyException",
}


class Raw(BytesIO):
    """A response body as urllib3 returns it."""

    def stream(self) -> Iterator[bytes]:
        """Yield the body."""
        yield self.read()


class Cloud:
    """S3 and InvokeEndpoint behind real botocore clients without a network.

    Errors have the shapes of botocore's model of sagemaker-runtime, with the status in the body of a ModelError.
    """

    def __init__(self, *requests: GoldenRequest, **models: Model) -> None:
        self.content = b"".join(json.dumps(to_dict(request)).encode() + b"\n" for request in requests)
        self.models = {NEW: models["new"], LIVE: models.get("live", models["new"])}
        self.sent: list[tuple[str, str]] = []
        self.failing: dict[int, int] = {}
        self.slow: dict[int, float] = {}
        self.now = 0.0
        self.runtime = boto3.client("sagemaker-runtime", config=RETRIES)
        self.runtime.meta.events.register("before-send.sagemaker-runtime", self._invoke)
        self.s3 = boto3.client("s3")
        self.s3.meta.events.register("before-send.s3", self._object)
        self.announced: list[tuple[str, int]] = []
        self.kept: dict[str, bytes] = {}
        self.caller = GoldenCaller(
            s3=self.s3, runtime=self.runtime, bucket="artifacts", timer=lambda: self.now, pause=self.wait
        )

    def wait(self, seconds: float) -> None:
        """Advance the time."""
        self.now += seconds

    def spec(self, **limits: Any) -> dict[str, Any]:
        """Return the spec of the set."""
        digest = hashlib.sha256(self.content).hexdigest()
        document: dict[str, Any] = to_dict(GoldenSpec(uri="s3://assets/golden.jsonl", sha256=digest, **limits))
        return document

    def check(self, *, live: bool = False, **limits: Any) -> dict[str, Any]:
        """Request a verdict on the new model."""
        event = {"mode": "check", "endpoint": NEW, "golden": self.spec(**limits), **ASKED}
        return self.caller.handle({**event, "live_endpoint": LIVE if live else None})

    def rehearse(self) -> None:
        """Rehearse the new model, and then let it serve."""
        event = {"mode": "check", "endpoint": NEW, "golden": self.spec(), "live_endpoint": None, "answers": KEPT}
        assert self.caller.handle({**event, **ASKED})["passed"]
        self.models[LIVE], self.sent = self.models[NEW], []

    def again(self, **limits: Any) -> dict[str, Any]:
        """Check the endpoint again."""
        event = {"mode": "again", "endpoint": LIVE, "golden": self.spec(**limits), "answers": KEPT}
        return self.caller.handle({**event, **ASKED})

    def _object(self, request: Any, **_: Any) -> AWSResponse:
        if KEPT in request.url:
            if request.method == "PUT":
                # botocore sends it in one chunk with a trailing checksum
                self.kept[KEPT] = request.body.read().split(b"\r\n")[1]
                return AWSResponse(request.url, 200, {"Content-Length": "0"}, Raw(b""))
            if KEPT not in self.kept:
                missing = b"<Error><Code>NoSuchKey</Code></Error>"
                return AWSResponse(request.url, 404, {"Content-Length": str(len(missing))}, Raw(missing))
            length = {"Content-Length": str(len(self.kept[KEPT]))}
            return AWSResponse(request.url, 200, length, Raw(self.kept[KEPT]))
        if request.method == "PUT":
            assert "artifacts" in request.url
            self.announced.append((request.url.partition(announcement_prefix(LIVE))[2], len(self.sent)))
            return AWSResponse(request.url, 200, {"Content-Length": "0"}, Raw(b""))
        return AWSResponse(request.url, 200, {"Content-Length": str(len(self.content))}, Raw(self.content))

    def _invoke(self, request: Any, **_: Any) -> AWSResponse:
        endpoint = request.url.split("/")[-2]
        self.sent.append((endpoint, request.headers["X-Amzn-SageMaker-Inference-Id"].decode()))
        self.now += self.slow.get(len(self.sent), 0.001)
        if len(self.sent) in self.failing:
            status = self.failing[len(self.sent)]
            return _response(request, status, b'{"message": "no"}', "application/json", ERRORS[status])
        if request.headers["Content-Type"] == b"text/csv":
            rows = [[float(line)] for line in request.body.decode().split()]
        else:
            rows = json.loads(request.body)["instances"]
        status, body, kind = self.models[endpoint](rows)
        if status == 200:
            return _response(request, 200, body, kind)
        error = {"OriginalStatusCode": status, "OriginalMessage": body.decode(), "Message": "Received error"}
        return _response(request, 424, json.dumps(error).encode(), "application/json", "ModelError")


def _response(request: Any, status: int, body: bytes, kind: str, error: str | None = None) -> AWSResponse:
    headers = {"Content-Type": kind, "Content-Length": str(len(body))}
    if not kind:
        del headers["Content-Type"]
    if error is not None:
        headers["x-amzn-errortype"] = error
    return AWSResponse(request.url, status, headers, Raw(body))


def model(formula: Callable[[float], float]) -> Model:
    """Return a model whose results are the same for single rows and batches."""
    return lambda rows: (200, json.dumps({"predictions": [formula(*row) for row in rows]}).encode(), "application/json")


def answering(status: int, body: bytes, kind: str) -> Model:
    """Return a model with one response."""
    return lambda _: (status, body, kind)


DOUBLE = model(lambda x: 2 * x)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the client's waits between attempts."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)


def test_a_right_model_passes():
    """After one warm-up call, each round sends every request and each row of a batch alone; monitors recognise the ids."""
    cloud = Cloud(ONE, BATCH, ONE_CSV, new=DOUBLE)
    verdict = cloud.check(max_latency_ms=100)
    assert verdict == {
        "passed": True,
        "reason": "all 3 golden requests passed in 5 rounds",
        "calls": 1 + ROUNDS * (1 + (1 + 3) + (1 + 2)),
        "note": "",
    }
    assert len(cloud.sent) == verdict["calls"] == len({identity for _, identity in cloud.sent})
    assert {endpoint for endpoint, _ in cloud.sent} == {NEW}
    for _, identity in cloud.sent:
        assert identity.startswith("mlops-synthetic-")
        assert len(identity) <= 64


@pytest.mark.parametrize(
    ("new", "problem"),
    [
        (model(lambda x: 2 * x - 5), "one: 1 of 1 numbers below the minimum 0, first in row 0: got -1.0"),
        (model(lambda x: 20 * x), "one: 1 of 1 numbers above the maximum 10, first in row 0: got 40.0"),
        (model(lambda x: x * math.nan), "one: 1 of 1 numbers are not finite, first in row 0: got nan"),
        (model(lambda x: math.inf if x == 3 else x), "batch: 1 of 3 numbers are not finite, first in row 2: got inf"),
        (lambda rows: DOUBLE(rows[:1]), "batch: got 1 numbers for 3 rows"),
        (lambda rows: DOUBLE([*rows, [1.0]]), "one: got 2 numbers for 1 rows"),
        (
            lambda rows: (500, b"no such column", "x") if rows[0] == [2.0] else DOUBLE(rows),
            "one: the model returned 500, expected 2xx: no such column",
        ),
        (
            lambda rows: (400, b"instances[0]: unknown column 'store'", "x") if rows[0] == [2.0] else DOUBLE(rows),
            "one: the model returned 400, expected 2xx: instances[0]: unknown column 'store'; leave it out of the golden "
            "requests (mlops new --leave-out), or train on it",
        ),
        (
            lambda rows: (500, b"alone", "x") if rows == [[3.0]] else DOUBLE(rows),
            "batch: 1 of 3 rows fail when sent alone, first row 2: the model returned 500, expected 2xx: alone",
        ),
        (
            lambda rows: model(lambda x: x - min(row[0] for row in rows))(rows),
            "batch: 2 of 3 rows differ when sent alone, first row 1: got 0.0 alone and 1.0 among 3, a relative difference of "
            "0.0001 is allowed",
        ),
        (answering(200, b"2.0", ""), "one: returned content type '', expected application/json or text/csv"),
        (answering(200, b"2.0", "text/html"), "one: returned content type 'text/html', expected application/json or"),
        (
            answering(200, b"[2.0]", "application/json"),
            'one: returned [2.0], expected {"predictions": [numbers]}',
        ),
        (answering(200, b'{"predictions": [true]}', "application/json"), "True is not a number"),
    ],
)
def test_a_wrong_model_fails_by_name(new: Model, problem: str):
    """The reason has the request, the value and the allowed values."""
    verdict = Cloud(ONE, BATCH, new=new).check()
    assert verdict["passed"] is False
    assert problem in verdict["reason"]
    assert "of 2 golden requests failed: " in verdict["reason"]


def test_answers_may_be_csv():
    """Prebuilt AWS images return CSV; the first column counts, as for the monitors."""

    def csv(rows: list[Any]) -> Answer:
        return 200, b"".join(b"%f,x\n" % row[0] for row in rows), "text/csv; charset=utf-8"

    assert Cloud(ONE, BATCH, new=csv).check()["passed"] is True


def test_one_slow_call_is_no_slowness():
    """Neither one, nor two of five, nor the first call, which may load the model; consistently slow calls are."""
    cloud = Cloud(ONE, BATCH, new=DOUBLE)
    cloud.slow = {1: 30.0, 2: 9.0, 7: 9.0, 13: 0.2}
    assert cloud.check(max_latency_ms=100)["passed"] is True
    cloud = Cloud(ONE, BATCH, new=DOUBLE)
    cloud.slow = dict.fromkeys(range(1, 199), 0.101)
    assert cloud.check()["passed"] is True
    cloud = Cloud(ONE, BATCH, new=DOUBLE)
    cloud.slow = dict.fromkeys(range(1, 199), 0.101)
    reason = cloud.check(max_latency_ms=100)["reason"]
    assert reason.startswith(
        "2 of 2 golden requests failed: one: the median of 7 calls is 101 ms, at most 100 ms are allowed"
    )
    assert "rows alone: the median of 7 calls is 101 ms" in reason


def test_what_is_slower_than_the_live_model_is_slow():
    """Calls alternate, and three more checks confirm it."""
    cloud = Cloud(ONE, new=DOUBLE)
    cloud.slow = {number: 0.04 if number % 2 else 0.01 for number in range(1, 199)}
    assert cloud.check(live=True, max_slowdown=4.5)["passed"] is True
    cloud = Cloud(ONE, new=DOUBLE)
    cloud.slow = {number: 0.04 if number % 2 else 0.01 for number in range(1, 199)}
    verdict = cloud.check(live=True, max_slowdown=3)
    assert verdict["reason"] == (
        "1 of 1 golden requests failed: one: the median of 7 calls is 40.0 ms, 4.0 times the 10.0 ms of the live model, at most "
        "3 times are allowed; as slow in each of 3 later checks, 20 s apart"
    )
    cloud = Cloud(ONE, new=DOUBLE)
    hiccups = (3, 5, 7)  # a machine that is busy for most of the rounds
    cloud.slow = {number: 0.09 if number in hiccups else 0.001 for number in range(1, 199)}
    assert cloud.check(live=True, max_slowdown=3)["passed"] is True
    cloud = Cloud(ONE, new=DOUBLE)
    assert cloud.check(max_slowdown=3)["passed"] is True  # a first model has no comparison


def test_an_image_that_repeats_old_answers_fails():
    """It caches by the number of rows: the next round sends the same rows in another order."""
    kept: dict[int, Answer] = {}

    def remembers(rows: list[Any]) -> Answer:
        return kept.setdefault(len(rows), DOUBLE(rows)) if len(rows) > 1 else DOUBLE(rows)

    reason = Cloud(ONE, BATCH, new=remembers).check()["reason"]
    assert "batch: 3 of 3 rows differ when sent alone" in reason


def test_a_model_that_does_not_repeat_itself_fails():
    """Each row must have the same result in all rounds."""
    calls = iter(range(10**6))
    verdict = Cloud(ONE, new=model(lambda x: x + next(calls) // 3)).check()
    assert "one: 1 of 1 rows got another answer in round 3, first row 0: got 3.0 after 2.0" in verdict["reason"]
    assert verdict["calls"] == 4


def test_of_many_rows_others_are_sent_alone_each_time():
    """Thirty-two a round, so that a single failing row is found within the rounds at any position."""
    many = GoldenRequest(name="many", body=json.dumps({"instances": [[float(row)] for row in range(100)]}), rows=100)
    cloud = Cloud(many, new=DOUBLE)
    assert cloud.check()["calls"] == 1 + ROUNDS * (1 + 32)
    alone = Cloud(many, new=lambda rows: (500, b"alone", "x") if rows == [[99.0]] else DOUBLE(rows))
    assert "many: 1 of 32 rows fail when sent alone, first row 99: the model returned 500" in alone.check()["reason"]


def test_a_container_that_ends_after_a_while_fails():
    """After three good rounds SageMaker has no response."""
    calls = iter(range(10**6))
    verdict = Cloud(ONE, BATCH, new=lambda rows: DOUBLE(rows) if next(calls) < 16 else (0, b"no answer", "x")).check()
    assert "the model returned 0, expected 2xx: no answer" in verdict["reason"]


def test_rows_of_unknown_formats_are_sent_as_they_are():
    """Without rows nothing can be reordered."""
    own = GoldenRequest(name="own", body='{"instances": {"a": [1, 2]}}', rows=2)
    cloud = Cloud(own, new=answering(200, b'{"predictions": [1, 2]}', "application/json"))
    assert cloud.check()["passed"] is True


def test_errors_of_the_platform_are_asked_again():
    """The client retries; waiting for the platform is not the model's latency."""
    cloud = Cloud(ONE, new=DOUBLE)
    cloud.failing, cloud.slow = {2: 503, 3: 500}, {2: 3.0}
    assert cloud.check(max_latency_ms=10)["passed"] is True
    assert len(cloud.sent) == 1 + ROUNDS + 2


def test_a_container_that_is_not_there_time_and_again_fails():
    """One unanswered call may happen; several look like a restarting container."""
    cloud = Cloud(ONE, new=DOUBLE)
    cloud.failing = {3: 503, 6: 503}
    assert cloud.check()["reason"] == (
        "2 of 6 calls had to be retried, at most 1 is allowed: the container or the platform was unavailable; if "
        "it was the platform, approve the package again"
    )
    cloud = Cloud(ONE, new=DOUBLE)
    cloud.failing = {2: 503, 5: 503}  # of the live model, which is not under test
    assert cloud.check(live=True, max_deviation=1.0)["passed"] is True


@pytest.mark.parametrize("failing", [dict.fromkeys(range(5), 503), {1: 530}, {2: 400}])
def test_a_platform_that_stays_broken_gives_no_verdict(failing: dict[int, int]):
    """The machine may retry the state; the model is not at fault."""
    cloud = Cloud(ONE, new=DOUBLE)
    cloud.failing = failing
    with pytest.raises(GoldenCallError, match=f"endpoint '{NEW}' could not be invoked: "):
        cloud.check()


def test_other_bytes_are_refused_before_any_call():
    """The spec has the hash of the set."""
    cloud = Cloud(ONE, new=DOUBLE)
    spec = cloud.spec()
    cloud.content += b"\n"
    verdict = cloud.caller.handle({"mode": "check", "endpoint": NEW, "golden": spec, "live_endpoint": None, **ASKED})
    assert (verdict["passed"], verdict["calls"], cloud.sent) == (False, 0, [])
    assert f"must have the SHA-256 {spec['sha256']} of the spec, got " in verdict["reason"]


def test_the_median_distance_to_the_live_model_is_bounded():
    """Half of the numbers may differ widely; a first model has no comparison."""
    shifted = model(lambda x: 3 * x)
    cloud = Cloud(ONE, BATCH, new=shifted, live=DOUBLE)
    assert cloud.check(max_deviation=0.5, live=True)["passed"] is True
    assert {endpoint for endpoint, _ in cloud.sent} == {NEW, LIVE}
    verdict = cloud.check(max_deviation=0.4, live=True)
    assert verdict["reason"] == (
        "the median relative deviation from the live model is 0.5 over 4 numbers, at most 0.4 is allowed"
    )
    assert cloud.check(max_deviation=0.4)["passed"] is True
    assert cloud.check(live=True)["passed"] is True


def test_time_that_runs_out_is_a_failure_that_says_so():
    """A killed function would report nothing."""
    cloud = Cloud(ONE, BATCH, new=model(lambda x: -x))
    event = {"mode": "check", "endpoint": NEW, "golden": cloud.spec(), "live_endpoint": None, **ASKED}
    verdict = cloud.caller.handle(event, has_time=lambda: len(cloud.sent) < 3)
    assert verdict == {
        "passed": False,
        "reason": "1 of 2 golden requests failed: one: 1 of 1 numbers below the minimum 0, first in row 0: got -2.0; "
        "time ran out after 1 of 2 golden requests in round 1 of 5; make the set smaller",
        "calls": 3,
        "note": "",
    }


def test_traffic_counts_failures_and_raises_none():
    """Model failures, wrong numbers and platform errors count alike; the first request depends on the time."""
    cloud = Cloud(ONE, BATCH, new=lambda rows: DOUBLE(rows) if len(rows) == 1 else (500, b"", "x"))
    event = {"mode": "traffic", "endpoint": NEW, "golden": cloud.spec(), "calls": 5, **ASKED}
    answer = cloud.caller.handle(event)
    assert answer["calls"] == len(cloud.sent) == 5
    assert answer["failures"] in (2, 3)
    other = cloud.caller.handle({**event, "calls": 5, "now": "2017-08-01T09:00:04Z"})
    assert answer["failures"] + other["failures"] in (4, 5, 6)
    assert len({identity for _, identity in cloud.sent}) == 10
    cloud.failing = dict.fromkeys(range(11, 16), 400)
    assert cloud.caller.handle(event) == {"calls": 5, "failures": 5}
    assert cloud.caller.handle(event, has_time=lambda: False) == {"calls": 0, "failures": 0}


def test_an_unknown_mode_is_refused():
    """The error names it."""
    cloud = Cloud(ONE, new=DOUBLE)
    with pytest.raises(ValueError, match="mode must be 'check', 'again' or 'traffic', got 'both'"):
        cloud.caller.handle({"mode": "both", "endpoint": NEW, "golden": cloud.spec(), **ASKED})


def test_calls_to_what_is_watched_are_announced_before_the_first():
    """Every id ends in an unguessable nonce, which differs for the next batch."""
    cloud = Cloud(ONE, BATCH, new=DOUBLE)
    event = {"mode": "traffic", "endpoint": LIVE, "golden": cloud.spec(), "calls": 5, **ASKED}
    for _ in range(2):
        cloud.caller.handle(event)
    cloud.check(live=True, max_deviation=0.5)
    announced = [read_announcement(key) for key, _ in cloud.announced]
    assert [before for _, before in cloud.announced] == [0, 5, 10]
    assert [a.calls for a in announced if a is not None][:2] == [5, 5]
    nonces = [a.nonce for a in announced if a is not None]
    assert len(set(nonces)) == 3
    assert [nonce_of(identity) for _, identity in cloud.sent[:10]] == [nonces[0]] * 5 + [nonces[1]] * 5
    to_live = [identity for endpoint, identity in cloud.sent[10:] if endpoint == LIVE]
    assert {nonce_of(identity) for identity in to_live} == {nonces[2]}
    assert announced[2] is not None
    assert len(to_live) <= announced[2].calls


def test_a_rehearsal_that_nobody_watches_is_not_announced():
    """Its endpoint has no monitor."""
    cloud = Cloud(ONE, new=DOUBLE)
    assert cloud.check()["passed"]
    assert cloud.announced == []


def test_what_answers_as_before_traffic_passes_again():
    """The rounds are the same, and each call is announced, so that monitors exclude it."""
    cloud = Cloud(ONE, BATCH, ONE_CSV, new=DOUBLE)
    cloud.rehearse()
    verdict = cloud.again(max_latency_ms=100)
    assert verdict["passed"]
    assert {endpoint for endpoint, _ in cloud.sent} == {LIVE}
    (announced,) = (read_announcement(key) for key, _ in cloud.announced)
    assert announced is not None
    assert {nonce_of(identity) for _, identity in cloud.sent} == {announced.nonce}
    assert len(cloud.sent) <= announced.calls


@pytest.mark.parametrize(
    ("later", "problem"),
    [
        (
            model(lambda _: 4.0),
            "batch: 2 of 3 rows got another answer than before it had traffic, first row 0: got 4.0 after 2.0",
        ),
        (answering(200, b'{"error": "out of memory"}', "application/json"), 'one: returned {"error": "out of memory"}'),
        (answering(200, b"<html>", "text/html"), "one: returned content type 'text/html'"),
    ],
    ids=["constant", "an error body", "a page"],
)
@pytest.mark.parametrize("share", [1, 2], ids=["everywhere", "on one instance of two"])
def test_what_turned_since_then_fails(later: Model, problem: str, share: int):
    """Also a constant within all bounds differs from the stored responses."""
    cloud = Cloud(ONE, BATCH, new=DOUBLE)
    cloud.rehearse()
    chance = random.Random(7)
    cloud.models[LIVE] = lambda rows: later(rows) if chance.random() * share < 1 else DOUBLE(rows)
    verdict = cloud.again()
    assert not verdict["passed"]
    assert share > 1 or problem in verdict["reason"]


def test_without_kept_answers_the_bounds_alone_count():
    """After an execution that died before it stored responses."""
    cloud = Cloud(ONE, BATCH, new=model(lambda _: 4.0), live=model(lambda _: 4.0))
    assert cloud.again()["passed"]
    assert not Cloud(ONE, new=DOUBLE, live=model(lambda x: -x)).again()["passed"]


def test_answers_that_fail_are_not_kept():
    """A rejected candidate is not checked again."""
    cloud = Cloud(ONE, new=model(lambda x: -x))
    event = {"mode": "check", "endpoint": NEW, "golden": cloud.spec(), "live_endpoint": None, "answers": KEPT}
    assert not cloud.caller.handle({**event, **ASKED})["passed"]
    assert cloud.kept == {}


BROKEN = {
    "fails": answering(500, b"no memory", "text/plain"),
    "says an error under 200": answering(200, b'{"error": "no memory"}', "application/json"),
    "answers out of bounds": model(lambda _: -1.0),
}


@pytest.mark.parametrize("live", BROKEN.values(), ids=BROKEN)
def test_a_broken_live_model_refuses_no_successor(live: Model):
    """No comparison is made, not even of latency; the bounds apply, and the record has a note."""
    cloud = Cloud(ONE, BATCH, new=DOUBLE, live=live)
    verdict = cloud.check(live=True, max_deviation=0.01, max_slowdown=1.0, max_latency_ms=100)
    assert verdict["passed"]
    assert verdict["note"] == "the live model fails 2 of 2 golden requests, so nothing was compared with it"
    wrong = Cloud(ONE, BATCH, new=model(lambda x: -x), live=live)
    assert not wrong.check(live=True, max_deviation=0.01)["passed"]


def test_a_live_model_that_fails_one_request_is_compared_in_the_others():
    """The deviation counts there."""
    live = lambda rows: DOUBLE(rows) if len(rows) == 3 else (500, b"no", "text/plain")  # noqa: E731
    near = Cloud(ONE, BATCH, new=DOUBLE, live=live).check(live=True, max_deviation=0.01)
    assert near["passed"]
    assert near["note"] == "the live model fails 1 of 2 golden requests, so these were not compared with it"
    far = Cloud(ONE, BATCH, new=model(lambda x: 3 * x), live=live).check(live=True, max_deviation=0.01)
    assert not far["passed"]
