"""The attacks on a promotion, one row per case: group, deed, result of the offer, and message.

Each ``act`` makes an offer and returns it. A state of ``None`` means that the guard does not accept it as an offer.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tests.examples.test_two_accounts import BUILD, GROUP, STAGING, UNIT
from tests.passed import gate_of
from tests.promotion_attacks.besieged import OTHER, Besieged, Record
from tests.released import Released

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.events import DetailType, event_source
from mlops_runtime.contracts.model import GateVerdict
from mlops_runtime.contracts.release import ReleasedObject
from mlops_runtime.promotion.offer_table import OfferState
from mlops_runtime.promotion.release_plan import MAXIMUM_OBJECT, MAXIMUM_RECORD
from mlops_runtime.rollout.event_origin import LONGEST_BODY

Offered = Released | Record
Act = Callable[[Besieged], Offered]


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One case.

    Args:
        group: Target of the attack.
        name: The attack.
        act: Performs it.
        words: Message of the target.
        state: State of the offer; None if the guard does not accept one.
    """

    group: str
    name: str
    act: Act
    words: str = ""
    state: OfferState | None = "REFUSED"


def _record(**changes: Any) -> Act:
    """Another record of a package; only the record is rejected."""
    return lambda siege: siege.offer(siege.claim().changed(**changes))


def _package(**changes: Any) -> Act:
    def act(siege: Besieged) -> Offered:
        claimed = siege.claim()
        return siege.offer(claimed.changed(package=replace(claimed.record.package, **changes)))

    return act


def _arn(model: str, *, account: str = BUILD.account) -> str:
    return replace(BUILD, account=account).linked.arn("sagemaker", f"model-package/{model}")


def _registered(status: str, approval: str | None = None) -> Act:
    """A complete release of a package in the source's registry, with another status or approval."""
    return lambda siege: siege.offer(siege.forge(status=status, approval=approval))


def _withdrawn(status: str) -> Act:
    def act(siege: Besieged) -> Offered:
        released = siege.forge()
        siege.decide(str(released.record.package.package_arn), status, "it was a mistake")
        return siege.offer(released)

    return act


def _approved_with(**changes: Any) -> Act:
    """A complete release of an approved package, whose record differs from it."""
    return lambda siege: siege.offer(siege.forge().changed(**changes))


def _of_another(siege: Besieged) -> Offered:
    other, mine = siege.forge(), siege.claim()
    package = replace(mine.record.package, package_arn=other.record.package.package_arn)
    return siege.offer(mine.changed(package=package))


def _imageless(siege: Besieged) -> Offered:
    """The repository exists, with another image only."""
    ecr, manifest = siege.staging.client("ecr"), json.dumps({"layers": []})
    if not ecr.describe_repositories()["repositories"]:
        ecr.create_repository(repositoryName="mlops-runtime")
        ecr.put_image(repositoryName="mlops-runtime", imageManifest=manifest, imageTag="other")
    return siege.offer(siege.forge(image=f"sha256:{'6' * 64}"))


def _with_binding_of_another(siege: Besieged) -> Offered:
    return siege.offer(siege.claim().changed(binding=siege.claim().record.binding))


# -- objects of the source, changed between approval and copy

Change = Callable[[bytes], bytes | None]


def _object(name: str, change: Change, **arguments: Any) -> Act:
    def act(siege: Besieged) -> Offered:
        released = siege.forge()
        key = _key(siege, released, name)
        content = change(released.objects[key])
        if content is None:
            siege.delete(key)
        else:
            siege.put(key, content, **arguments)
        return siege.offer(released)

    return act


def _swapped(name: str) -> Act:
    """The object of another model that the source approved too."""

    def act(siege: Besieged) -> Offered:
        released, other = siege.forge(), siege.forge()
        siege.put(_key(siege, released, name), other.objects[_key(siege, other, name)])
        return siege.offer(released)

    return act


def _rewritten(name: str, content_of: Callable[[Released, str], bytes]) -> Act:
    """Another object, whose hash is in the record: a writer of one can write both."""

    def act(siege: Besieged) -> Offered:
        released = siege.forge()
        key = _key(siege, released, name)
        content = content_of(released, key)
        siege.put(key, content)
        reported = ReleasedObject(
            uri=f"s3://{siege.bucket}/{key}", size=len(content), sha256=hashlib.sha256(content).hexdigest()
        )
        return siege.offer(released.changed(**{name: reported}))

    return act


def _gate(verdict: GateVerdict, *, of: bytes | None = None) -> Callable[[Released, str], bytes]:
    def content(released: Released, key: str) -> bytes:
        evaluation = next(each for name, each in released.objects.items() if name.endswith("/evaluation.json"))
        return canonical_json(gate_of(evaluation if of is None else of, execution="x", verdict=verdict))

    return content


def _described(name: str, **changes: Any) -> Act:
    def act(siege: Besieged) -> Offered:
        claimed = siege.claim()
        return siege.offer(claimed.changed(**{name: replace(getattr(claimed.record, name), **changes)}))

    return act


def _key(siege: Besieged, released: Released, name: str) -> str:
    uri: str = getattr(released.record, name).uri
    return uri.removeprefix(f"s3://{siege.bucket}/")


# -- the record's bytes


def _bytes(change: Callable[[bytes], bytes]) -> Act:
    return lambda siege: siege.raw(change(siege.claim().content))


def _field(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Act:
    return _bytes(lambda content: json.dumps(change(json.loads(content))).encode())


def _changed_after_its_event(siege: Besieged) -> Offered:
    released = siege.claim()
    siege.put(released.key, released.content + b" ")
    siege.announce(released)
    return released


def _nowhere(siege: Besieged) -> Offered:
    released = siege.claim()
    siege.announce(released)
    return released


def _at_another_key(siege: Besieged) -> Offered:
    return siege.raw(siege.claim().content)


def _in_bucket_of(account: str) -> Act:
    """The record is in a publicly readable bucket of another account."""

    def act(siege: Besieged) -> Offered:
        place, name = siege.cloud.at(account, BUILD.region), f"open-{account}-{siege.number}"
        s3, released = place.client("s3"), siege.claim(bucket=name)
        s3.create_bucket(Bucket=name)
        statement = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{name}/*",
        }
        s3.delete_public_access_block(Bucket=name)
        s3.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
        for key, content in {released.key: released.content, **released.objects}.items():
            s3.put_object(Bucket=name, Key=key, Body=content)
        siege.announce(released)
        return released

    return act


# -- events


def _event(**entry: Any) -> Act:
    def act(siege: Besieged) -> Offered:
        released = siege.claim()
        siege.put(released.key, released.content)
        siege.announce(released, **entry)
        siege.quiet()
        return released

    return act


def _attributes(**changes: str | None) -> Act:
    def act(siege: Besieged) -> Offered:
        released = siege.claim()
        reported = {"record_uri": released.uri, "record_sha256": released.sha256} | changes
        siege.announce(
            released, detail={"attributes": {name: each for name, each in reported.items() if each is not None}}
        )
        siege.quiet()
        return released

    return act


def _message(**changes: Any) -> Act:
    """A message in the guard's queue, to which only the target itself may send."""

    def act(siege: Besieged) -> Offered:
        released = siege.claim()
        siege.put(released.key, released.content)
        event = released.event(at=siege.accounts.now().isoformat(), account=BUILD.account, region=BUILD.region)
        siege.deliver(json.dumps({**event, **changes}))
        siege.quiet()
        return released

    return act


def _not_an_event(body: str) -> Act:
    def act(siege: Besieged) -> Offered:
        siege.deliver(body)
        siege.quiet()
        return siege.claim()

    return act


# -- rows

_IDENTITY = [
    Attack(group="identity", name="another unit", act=_record(unit="pricing"), words="unit is 'pricing', expected"),
    Attack(
        group="identity",
        name="another group",
        act=_field(lambda record: record | {"group": "outlet-margin"}),
        words="group is 'outlet-margin'",
    ),
    Attack(group="identity", name="another account", act=_record(account=OTHER), words=f"account is '{OTHER}'"),
    Attack(group="identity", name="another Region", act=_record(region="eu-north-1"), words="region is 'eu-north-1'"),
    Attack(group="identity", name="the target as its source", act=_record(account=STAGING.account), words=", expected"),
    Attack(
        group="identity",
        name="no binding",
        act=_record(binding="0" * 64),
        words="is not that of the package in the record",
    ),
    Attack(
        group="identity",
        name="the binding of another release",
        act=_with_binding_of_another,
        words="is not that of the package in the record",
    ),
    Attack(
        group="identity",
        name="a package of another group",
        act=_package(group="outlet-margin"),
        words="the package's group is 'outlet-margin', but the release has 'outlet-price'",
    ),
    Attack(
        group="identity",
        name="the ARN of another group",
        act=_package(package_arn=_arn("outlet-margin/1")),
        words=f"the package must be one of {_arn(f'{GROUP}/')}*",
    ),
    Attack(
        group="identity",
        name="the ARN of another account",
        act=_package(package_arn=_arn(f"{GROUP}/1", account=OTHER)),
        words=f"the package must be one of {_arn(f'{GROUP}/')}*",
    ),
    Attack(
        group="identity",
        name="the ARN of no version",
        act=_package(package_arn=_arn(f"{GROUP}/latest")),
        words=f"the package must be one of {_arn(f'{GROUP}/')}*",
    ),
    Attack(
        group="identity",
        name="another model than its hash",
        act=_package(model_sha256="0" * 64),
        words="is not that of the package in the record",
    ),
    Attack(
        group="identity",
        name="a variable that loads a library",
        act=_package(environment={"LD_PRELOAD": "/opt/ml/model/x.so"}),
        words="is not that of the package in the record",
    ),
    Attack(group="identity", name="a pickle", act=_package(flavor="sklearn", trust="pickle"), words="pickle"),
    Attack(
        group="identity",
        name="the record of one model under the ARN of another",
        act=_of_another,
        words="in the source, but the release has",
    ),
    Attack(
        group="identity",
        name="a package that was never registered",
        act=lambda siege: siege.offer(siege.claim(version=999)),
        words="is no longer in the source's registry",
    ),
    Attack(
        group="identity",
        name="a package that waits",
        act=_registered("PendingManualApproval"),
        words="is PendingManualApproval (Completed) in the source, no longer approved",
    ),
    Attack(
        group="identity",
        name="an approval of something else",
        act=_registered("Approved", f"fine [binding {'0' * 64}]"),
        words=f"in the source is for {'0' * 64}",
    ),
    Attack(
        group="identity",
        name="another approver",
        act=_approved_with(approved_by=f"arn:aws:sts::{BUILD.account}:assumed-role/Approver/bob"),
        words="approved_by is 'arn:aws:sts::111111111111:assumed-role/Approver/bob', but the source's registry has",
    ),
    Attack(
        group="identity",
        name="an approval in other words",
        act=_approved_with(approval="security approved it"),
        words="approval is 'security approved it', but the source's registry has",
    ),
]

_CHANGES: list[tuple[str, Change, dict[str, Any], str]] = [
    ("changed", lambda content: b"x" + content[1:], {}, "was changed after its release: it has SHA-256"),
    ("missing", lambda _: None, {}, "an object of the release could not be copied: S3."),
]
_OBJECTS = [
    *(
        Attack(group="objects", name=f"{name} {what}", act=_object(name, change, **arguments), words=words)
        for what, change, arguments, words in _CHANGES
        for name in ("artifact", "evaluation", "baseline", "gate")
    ),
    *(
        Attack(group="objects", name=f"{name} of another approved model", act=_swapped(name), words=f"the {name}, ")
        for name in ("artifact", "evaluation", "gate")
    ),
    Attack(
        group="objects",
        name="artifact emptied",
        act=_object("artifact", lambda _: b""),
        words="was changed after its release",
    ),
    Attack(
        group="objects",
        name="artifact grown",
        act=_object("artifact", lambda content: content + b"\0" * 2**20),
        words="was changed after its release",
    ),
    Attack(
        group="objects",
        name="artifact changed, with a checksum of another algorithm",
        act=_object("artifact", lambda content: content + b" ", ChecksumAlgorithm="CRC32"),
        words="was changed after its release",
    ),
    Attack(
        group="objects",
        name="gate that did not pass",
        act=_rewritten("gate", _gate(GateVerdict.FAILED)),
        words="the gate's verdict is FAILED; only candidates that passed are released",
    ),
    Attack(
        group="objects",
        name="gate of another evaluation",
        act=_rewritten("gate", _gate(GateVerdict.PASSED, of=b"{}")),
        words="the gate decided on an evaluation of SHA-256",
    ),
    Attack(
        group="objects",
        name="gate that is not one",
        act=_rewritten("gate", lambda *_: b"[]"),
        words="evaluation or gate's result cannot be read",
    ),
    Attack(
        group="objects",
        name="evaluation that is better, with its hash",
        act=_rewritten("evaluation", lambda released, key: released.objects[key].replace(b"0.2", b"0.1")),
        words="is not that of the package in the record",
    ),
    Attack(
        group="objects",
        name="artifact in another bucket",
        act=_described("gate", uri=f"s3://open-{OTHER}/gates/{GROUP}/x.json"),
        words="gate must be in bucket",
    ),
    Attack(
        group="objects",
        name="gate of another unit",
        act=lambda siege: _described("gate", uri=f"s3://{siege.bucket}/gates/pricing-x/one.json")(siege),
        words="gate must be in bucket",
    ),
    Attack(
        group="objects",
        name="path out of its folder",
        act=lambda siege: _described("gate", uri=f"s3://{siege.bucket}/gates/{GROUP}/../../x.json")(siege),
        words="gate must be in bucket",
    ),
    Attack(
        group="objects",
        name="larger than one copy",
        act=_described("artifact", size=MAXIMUM_OBJECT + 1),
        words="one copy must have 1 to",
    ),
    Attack(group="objects", name="of no size", act=_described("artifact", size=0), words="artifact has 0 bytes"),
]

_RECORD = [
    Attack(group="record", name="changed after its event", act=_changed_after_its_event, words="has SHA-256"),
    Attack(group="record", name="missing", act=_nowhere, words="could not be copied: S3."),
    Attack(group="record", name="empty", act=_bytes(lambda _: b""), words="is not a release record"),
    Attack(group="record", name="not JSON", act=_bytes(lambda content: content[:-1]), words="is not a release record"),
    Attack(
        group="record", name="not UTF-8", act=_bytes(lambda _: b'{"unit": "\xff"}'), words="is not a release record"
    ),
    Attack(
        group="record",
        name="brackets without end",
        act=_bytes(lambda _: b"[" * 60_000),
        words="is not a release record",
    ),
    Attack(
        group="record",
        name="a number without end",
        act=_bytes(lambda _: b"9" * 60_000),
        words="is not a release record",
    ),
    Attack(
        group="record",
        name="huge",
        act=_bytes(lambda content: content + b" " * MAXIMUM_RECORD),
        words=f"a release record must have at most {MAXIMUM_RECORD} bytes",
    ),
    Attack(
        group="record",
        name="without a field",
        act=_field(lambda record: {name: each for name, each in record.items() if name != "approved_by"}),
        words="approved_by",
    ),
    Attack(
        group="record",
        name="a field of another type",
        act=_field(lambda record: record | {"audit_sequence": "3"}),
        words="audit_sequence",
    ),
    Attack(
        group="record",
        name="of a version to come",
        act=_field(lambda record: record | {"format": "mlops.release/2"}),
        words="mlops.release/2",
    ),
    Attack(
        group="record",
        name="at the key of another",
        act=_at_another_key,
        words="is not the URI of the record of binding",
    ),
    Attack(
        group="record",
        name="in a bucket of a third account",
        act=_in_bucket_of(OTHER),
        words="could not be copied: S3.",
    ),
    Attack(
        group="record",
        name="an approver who speaks to people",
        act=_record(approved_by="ann\n\nApproved by security, deploy now"),
        words="approved_by must be 1 to 2,048 characters of ASCII without spaces",
    ),
    Attack(
        group="record",
        name="half of a character",
        act=_bytes(lambda content: content.replace(b"/ann", b"/ann\\ud800")),
        words="approved_by must be text without lone surrogates",
    ),
    Attack(
        group="record", name="a chain's hash that is none", act=_record(audit_hash="none"), words="audit_hash must be"
    ),
]

_TIME = [
    Attack(
        group="time",
        name="stale",
        act=lambda siege: siege.offer(siege.claim(released_at="2001-01-01T00:00:00Z")),
        words="stale: it was released at 2001-01-01",
    ),
    Attack(
        group="time",
        name="to come",
        act=lambda siege: siege.offer(siege.claim(released_at="2999-01-01T00:00:00Z")),
        words="which is in the future",
    ),
    Attack(
        group="time",
        name="not a time",
        act=lambda siege: siege.offer(siege.claim(released_at="soon")),
        words="released_at must be a time in ISO 8601",
    ),
    Attack(
        group="time",
        name="before all times",
        act=lambda siege: siege.offer(siege.claim(released_at="0001-01-01T00:00:00+14:00")),
        words="released_at must be a time in ISO 8601",
    ),
    Attack(
        group="time",
        name="rejected since",
        act=_withdrawn("Rejected"),
        words="is Rejected (Completed) in the source, no longer approved",
    ),
    Attack(
        group="time",
        name="withdrawn since",
        act=_withdrawn("PendingManualApproval"),
        words="is PendingManualApproval (Completed) in the source, no longer approved",
    ),
    Attack(
        group="time",
        name="the model that serves, released anew",
        act=lambda siege: siege.offer(siege.forge(factor=3.0)),
        words="this model was taken before",
        state="REGISTERED",
    ),
]

_IMAGES = [
    Attack(
        group="images",
        name="missing in the Region",
        act=lambda siege: siege.offer(siege.forge(image=f"sha256:{'5' * 64}")),
        words=f"was not found in the registry of {STAGING.account} in us-east-1",
    ),
    Attack(
        group="images",
        name="missing in a repository that is there",
        act=_imageless,
        words=f"image sha256:{'6' * 64} of repository mlops-runtime was not found in the registry of {STAGING.account}",
    ),
    Attack(
        group="images",
        name="by tag",
        act=_package(image=f"{BUILD.account}.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime:latest"),
        words="the image must be one of ECR by digest",
    ),
    Attack(
        group="images",
        name="of a third account",
        act=_package(image=f"{OTHER}.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:{'0' * 64}"),
        words=f"is of account {OTHER}, but must be in the source's own registry",
    ),
    Attack(
        group="images",
        name="of a public registry",
        act=_package(image=f"docker.io/library/python@sha256:{'0' * 64}"),
        words="the image must be one of ECR by digest",
    ),
    Attack(
        group="images",
        name="another one than was approved",
        act=_package(image=f"{BUILD.account}.dkr.ecr.us-east-1.amazonaws.com/mlops-runtime@sha256:{'7' * 64}"),
        words="is not that of the package in the record",
    ),
    Attack(
        group="images",
        name="of another repository than was approved",
        act=_package(image=f"{BUILD.account}.dkr.ecr.us-east-1.amazonaws.com/other@sha256:{'0' * 64}"),
        words="is not that of the package in the record",
    ),
]

_EVENTS = [
    Attack(group="events", name="of another unit's source", act=_event(Source="mlops.pricing"), state=None),
    Attack(group="events", name="of another kind", act=_event(DetailType="MLOps Model Promoted"), state=None),
    Attack(group="events", name="of another group", act=_event(detail={"subject": "outlet-margin"}), state=None),
    Attack(group="events", name="of another outcome", act=_event(detail={"outcome": "REFUSED"}), state=None),
    Attack(group="events", name="without a record", act=_attributes(record_uri=None), state=None),
    Attack(group="events", name="without a hash", act=_attributes(record_sha256=None), state=None),
    Attack(group="events", name="with a hash that is none", act=_attributes(record_sha256="../x"), state=None),
    Attack(
        group="events",
        name="of a record out of its folder",
        act=_attributes(record_uri=f"s3://bucket/releases/{GROUP}/../../x.json"),
        state=None,
    ),
    Attack(group="events", name="of another account", act=_message(account=OTHER), state=None),
    Attack(group="events", name="of another Region", act=_message(region="eu-north-1"), state=None),
    Attack(group="events", name="of another source, delivered", act=_message(source="mlops.pricing"), state=None),
    Attack(group="events", name="that was kept for years", act=_message(time="2001-01-01T00:00:00Z"), state=None),
    Attack(group="events", name="of a time to come", act=_message(time="2999-01-01T00:00:00Z"), state=None),
    Attack(group="events", name="with an id that is none", act=_message(id="x y"), state=None),
    Attack(group="events", name="without a detail", act=_message(detail={}), state=None),
    Attack(group="events", name="that is no event", act=_not_an_event("[" * 50_000), state=None),
    Attack(group="events", name="that is too large", act=_not_an_event(" " * (LONGEST_BODY + 1)), state=None),
]

ATTACKS = [*_IDENTITY, *_OBJECTS, *_RECORD, *_TIME, *_IMAGES, *_EVENTS]


def sent() -> dict[str, Any]:
    """Return the event that offers a release to the target's inbox."""
    record = {"record_uri": f"s3://bucket/releases/{GROUP}/{'0' * 64}.json", "record_sha256": "0" * 64}
    detail = {"id": "x", "subject": GROUP, "outcome": "RELEASED", "attributes": record, "version": "mlops.event/1"}
    return {
        "Source": event_source(UNIT),
        "DetailType": DetailType.MODEL_RELEASED.value,
        "Detail": json.dumps(detail),
    }
