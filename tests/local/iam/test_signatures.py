"""Signatures: session keys of services, and who may call the embedded cloud.

Only holders of a key's secret may call it, except for calls that AWS accepts unsigned.
"""

import base64
import hashlib
import http.client
import io
import json
import re
import stat
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from urllib.parse import urlencode, urlsplit

import boto3
import botocore.session
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from mlops_local.cloud import Cloud, CloudError
from mlops_local.iam.signatures import session_keys

_SHOW = "from mlops_local.iam.signatures import session_keys; print(*session_keys('purpose'))"
_HANDLER = """
import os

def handler(event, context):
    return [os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")]
"""


Answer = tuple[int, str]
# a read-only call in the protocol of its service
CALLS = {
    "sts": ("get_caller_identity", {}),  # query, never denied by AWS
    "iam": ("list_roles", {}),
    "sqs": ("list_queues", {}),
    "cloudwatch": ("list_metrics", {}),
    "ec2": ("describe_vpcs", {}),
    "dynamodb": ("list_tables", {}),  # JSON
    "secretsmanager": ("list_secrets", {}),
    "sagemaker": ("list_models", {}),
    "stepfunctions": ("list_state_machines", {}),
    "lambda": ("list_functions", {}),  # REST with JSON
    "eks": ("list_clusters", {}),
    "s3": ("list_buckets", {}),  # REST with XML
}
# each service's response to a wrong signature and to an unknown key
WRONG = {
    "secretsmanager": "InvalidSignatureException",
    "dynamodb": "InvalidSignatureException",
    "sagemaker": "InvalidSignatureException",
    "stepfunctions": "InvalidSignatureException",
    "lambda": "InvalidSignatureException",
    "eks": "InvalidSignatureException",
    "ec2": "AuthFailure",
}
UNKNOWN = {
    "sts": "InvalidClientTokenId",
    "iam": "InvalidClientTokenId",
    "sqs": "InvalidClientTokenId",
    "cloudwatch": "InvalidClientTokenId",
    "ec2": "AuthFailure",
    "s3": "InvalidAccessKeyId",
}


def test_the_same_for_a_purpose_and_unlike_others() -> None:
    """Within one run a session for the same purpose has the same keys."""
    assert session_keys("purpose") == session_keys("purpose")
    assert len({*session_keys("purpose"), *session_keys("other")}) == 6
    assert session_keys("purpose")[0].startswith("ASIA")
    assert len(session_keys("purpose")[0]) == 20


def test_another_run_has_other_keys() -> None:
    """No input of the derivation can be guessed."""
    runs = {
        subprocess.run([sys.executable, "-c", _SHOW], capture_output=True, text=True, check=True).stdout for _ in "ab"
    }

    assert len(runs) == 2


def test_keys_of_a_function_are_not_made_of_names(
    own_cloud: Callable[..., Cloud], make_function: Callable[..., str]
) -> None:
    """Two clouds give the same function of the same role different keys."""
    seen = set()
    for _ in "ab":
        cloud = own_cloud()
        make_function(cloud, "shows", {"handler.py": _HANDLER})
        seen |= set(
            cloud.client("lambda").invoke(FunctionName="shows")["Payload"].read().decode().strip("[]").split(", ")
        )
        cloud.down(forget=True)

    assert len(seen) == 6


def client(cloud: Cloud, service: str, key: str, secret: str, **options: Any) -> Any:
    """Make a client with the given keys."""
    return boto3.client(
        service,
        endpoint_url=cloud.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        **options,
    )


def root(cloud: Cloud) -> Credentials:
    """The root user's credentials from the environment."""
    environment = cloud.environment()
    return Credentials(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])


def send(cloud: Cloud, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    """Send a request unchanged, and return status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", cloud.port, timeout=20)
    connection.request(method, path, body or None, headers)
    response = connection.getresponse()
    answer = response.status, response.read().decode()
    connection.close()
    return answer


def texts(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return signed headers as strings, without the length, which depends on the body."""
    found = {name: value if isinstance(value, str) else value.decode() for name, value in headers.items()}
    return {name: value for name, value in found.items() if name.lower() != "content-length"}


def code_of(call: Callable[[], Any]) -> str:
    """Return the error code of a call."""
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


@pytest.mark.parametrize("service", CALLS)
def test_root_needs_its_secret(cloud: Cloud, service: str) -> None:
    """The key id is public and useless alone; errors have each service's format."""
    operation, arguments = CALLS[service]
    getattr(cloud.client(service), operation)(**arguments)

    wrong = code_of(lambda: getattr(client(cloud, service, "test", "test"), operation)(**arguments))
    unknown = code_of(lambda: getattr(client(cloud, service, "AKIAUNKNOWNUNKNOWN00", "x"), operation)(**arguments))

    assert wrong == WRONG.get(service, "SignatureDoesNotMatch")
    assert unknown == UNKNOWN.get(service, "UnrecognizedClientException")


@pytest.mark.parametrize("key", ["test", "000000000000", "222222222222"])
def test_no_other_name_of_root_gets_in(cloud: Cloud, key: str) -> None:
    """An account id is a key id of MiniStack's root, and needs the same secret."""
    assert code_of(client(cloud, "sts", key, "test").get_caller_identity) == "SignatureDoesNotMatch"


def test_an_account_that_the_cloud_does_not_have_is_refused(cloud: Cloud) -> None:
    """Whatever its keys: a stack deployed there by mistake would be lost."""
    secret = cloud.root_keys()["aws_secret_access_key"]
    assert code_of(client(cloud, "sts", "123456789012", secret).get_caller_identity) == "InvalidClientTokenId"


def test_a_role_needs_its_secret_and_its_token(cloud: Cloud, make_role: Callable[..., str]) -> None:
    """The session's own, not another session's."""
    keys = cloud.client("sts").assume_role(RoleArn=make_role(), RoleSessionName="tester")["Credentials"]
    key, secret, token = keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]

    assert client(cloud, "sts", key, secret, aws_session_token=token).get_caller_identity()["Account"]
    forged = client(cloud, "sts", key, "guessed", aws_session_token=token)
    assert code_of(forged.get_caller_identity) == "SignatureDoesNotMatch"
    without = client(cloud, "sts", key, secret)
    assert code_of(without.get_caller_identity) == "InvalidClientTokenId"


@pytest.mark.parametrize(
    ("method", "path", "body", "headers"),
    [
        ("POST", "/", "Action=CreateUser&UserName=x&Version=2010-05-08", {}),
        ("POST", "/", "Action=NoSuchAction&Version=2010-05-08", {"Authorization": "Bearer x"}),
        ("POST", "/", "{}", {"X-Amz-Target": "AWSStepFunctions.ListStateMachines"}),
        ("POST", "/", "{}", {"X-Amz-Target": "DynamoDB_20120810.NoSuchOperation"}),
        ("GET", "/2015-03-31/functions", "", {}),
        ("POST", "/2015-03-31/functions/f/invocations", "{}", {}),
        ("GET", "/clusters", "", {}),
        ("GET", "/", "", {}),
        ("PUT", "/unsigned-bucket", "", {}),
        ("GET", "/v20180820/tags/arn:aws:s3:::b", "", {}),
        ("GET", "/iceberg/v1/config", "", {}),
        ("POST", "/Execute", "{}", {}),
        ("POST", "/v2/email/outbound-emails", "{}", {}),
        ("GET", "/v2/_catalog", "", {}),
        ("POST", "/v2/images/blobs/uploads/", "", {"Authorization": "Basic " + base64.b64encode(b"AWS:x").decode()}),
        ("GET", "/_alb/balancer/", "", {}),
        ("POST", "/WriteGetObjectResponse", "", {"x-amz-request-route": "r"}),
        ("PUT", "/v20180820/tags/arn:aws:s3:::b", "", {"Host": "abcdef01.execute-api.127.0.0.1"}),
        ("POST", "/logout", "{}", {"X-Amz-Target": "DynamoDB_20120810.NoSuchOperation"}),
        ("POST", "/", "{}", {"Host": "no-such-balancer.us-east-1.elb.amazonaws.com"}),
    ],
)
def test_a_request_without_a_signature_is_refused(
    cloud: Cloud, method: str, path: str, body: str, headers: dict[str, str]
) -> None:
    """Whatever its target, and whether or not the target exists."""
    if "execute-api" in headers.get("Host", ""):
        headers = {**headers, "Host": f"{headers['Host']}:{cloud.port}"}
    form = {} if "X-Amz-Target" in headers else {"Content-Type": "application/x-www-form-urlencoded"}
    status, answer = send(cloud, method, path, body.encode(), **form, **headers)

    assert status in {400, 401, 403}
    assert re.search("MissingAuthentication|AccessDenied|AuthFailure|UNAUTHORIZED|NotInEmbeddedCloud", answer), answer


def test_web_identity_needs_no_signature(cloud: Cloud) -> None:
    """The token is the credential: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html."""
    requested = {"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleSessionName": "x"}
    form = urlencode({**requested, "WebIdentityToken": "x.y.z", "RoleArn": "arn:aws:iam::000000000000:role/x"}).encode()

    status, answer = send(cloud, "POST", "/", form, **{"Content-Type": "application/x-www-form-urlencoded"})

    assert status in {400, 403}
    assert re.search("Not authorized to perform sts:AssumeRoleWithWebIdentity|InvalidIdentityToken", answer), answer


def signed(cloud: Cloud, request: AWSRequest, service: str = "sts", signer: Any = SigV4Auth) -> AWSRequest:
    """Sign a request as root, by botocore's own signer."""
    signer(root(cloud), service, "us-east-1").add_auth(request)
    return request


def test_each_part_of_a_request_is_signed(cloud: Cloud) -> None:
    """Method, path, query, signed headers, body and date: each change alone is rejected."""
    url, form = f"{cloud.endpoint_url}/?x=1", b"Action=GetCallerIdentity&Version=2011-06-15"
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    sent = signed(cloud, AWSRequest("POST", url, data=form, headers=kind)).prepare()
    headers = texts(sent.headers)

    assert send(cloud, "POST", "/?x=1", form, **headers)[0] == 200
    date = headers["X-Amz-Date"][:-2] + ("1Z" if headers["X-Amz-Date"][-2] != "1" else "2Z")
    for answer in (
        send(cloud, "PUT", "/?x=1", form, **headers),
        send(cloud, "POST", "/y?x=1", form, **headers),
        send(cloud, "POST", "/?x=2", form, **headers),
        send(cloud, "POST", "/?x=1", form + b"&y=1", **headers),
        send(cloud, "POST", "/?x=1", form, **{**headers, "Content-Type": "application/x-www-form-urlencoded; a=b"}),
        send(cloud, "POST", "/?x=1", form, **{**headers, "X-Amz-Date": date}),
        send(cloud, "POST", "/?x=1", form, **{**headers, "Host": f"localhost:{cloud.port}"}),
    ):
        assert answer[0] == 403
        assert "SignatureDoesNotMatch" in answer[1]


def test_the_stated_hash_is_the_bodys(cloud: Cloud, unique: str) -> None:
    """S3 reports the difference; other services report a signature mismatch."""
    cloud.client("s3").create_bucket(Bucket=unique)
    stated = {"X-Amz-Content-SHA256": hashlib.sha256(b"one").hexdigest()}
    put = AWSRequest("PUT", f"{cloud.endpoint_url}/{unique}/key", data=b"one", headers=stated)
    headers = texts(signed(cloud, put, "s3", S3SigV4Auth).prepare().headers)

    assert send(cloud, "PUT", f"/{unique}/key", b"two", **headers)[0] == 400
    assert "XAmzContentSHA256Mismatch" in send(cloud, "PUT", f"/{unique}/key", b"two", **headers)[1]
    assert send(cloud, "PUT", f"/{unique}/key", b"one", **headers)[0] == 200

    form = b"Action=GetCallerIdentity&Version=2011-06-15"
    hashed = {
        "X-Amz-Content-SHA256": hashlib.sha256(form).hexdigest(),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    sent = signed(cloud, AWSRequest("POST", cloud.endpoint_url + "/", data=form, headers=hashed)).prepare()
    other = form.replace(b"GetCallerIdentity", b"GetSessionToken")
    assert "SignatureDoesNotMatch" in send(cloud, "POST", "/", other, **texts(sent.headers))[1]


def test_the_clock_of_signatures_is_the_real_one(own_cloud: Callable[..., Cloud]) -> None:
    """Five minutes, and 15 for some services, by the machine's clock; the embedded clock does not matter."""
    cloud = own_cloud()
    cloud.clock_jump(by=timedelta(days=200))
    calls = [(cloud.client("secretsmanager").list_secrets, 5), (cloud.client("iam").list_roles, 15)]

    def is_refused(call: Callable[[], object], minutes: int) -> bool:
        moment = datetime.now(UTC) + timedelta(minutes=minutes)
        with patch("botocore.auth.get_current_datetime", return_value=moment.replace(tzinfo=None)):
            try:
                call()
            except ClientError:
                return True
        return False

    cases = [(call, minutes, allowed) for call, allowed in calls for minutes in (-20, -6, -4, 4, 6, 20)]
    assert [is_refused(call, minutes) for call, minutes, _ in cases] == [
        abs(minutes) > allowed for _, minutes, allowed in cases
    ]


def test_presigned_addresses(cloud: Cloud, unique: str) -> None:
    """Presigned URLs of S3 in both signature versions; changed paths, keys without secret and old dates are rejected."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=unique)
    s3.put_object(Bucket=unique, Key="a b/é+", Body=b"content")
    wanted = {"Bucket": unique, "Key": "a b/é+"}
    for version in ("s3v4", "s3"):
        options = Config(signature_version=version, s3={"addressing_style": "path"})
        mine = client(cloud, "s3", "test", root(cloud).secret_key, config=options)
        url = urlsplit(mine.generate_presigned_url("get_object", Params=wanted))
        assert send(cloud, "GET", f"{url.path}?{url.query}") == (200, "content")
        assert send(cloud, "GET", f"{url.path}x?{url.query}")[0] == 403
        assert send(cloud, "DELETE", f"{url.path}?{url.query}")[0] == 403
        url = urlsplit(
            client(cloud, "s3", "test", "test", config=options).generate_presigned_url("get_object", Params=wanted)
        )
        assert send(cloud, "GET", f"{url.path}?{url.query}")[0] == 403
    forged = urlsplit(client(cloud, "s3", "test", "test").generate_presigned_url("list_buckets"))
    assert send(cloud, "GET", f"/v20180820/tags/{unique}?{forged.query}")[0] == 403
    assert send(cloud, "POST", f"/?Action=ListUsers&Version=2010-05-08&{forged.query}")[0] == 403


@pytest.mark.parametrize("secret", [None, "wrong"])
def test_a_form_needs_a_signed_policy(cloud: Cloud, unique: str, secret: str | None) -> None:
    """S3's form upload, https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-UsingHTTPPOST.html."""
    cloud.client("s3").create_bucket(Bucket=unique)
    options = Config(signature_version="s3v4")
    signer = client(cloud, "s3", "test", secret or root(cloud).secret_key, config=options)
    form = signer.generate_presigned_post(unique, "key")["fields"]
    parts = [f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in form.items()]
    body = "".join([*parts, '--x\r\nContent-Disposition: form-data; name="file"\r\n\r\ncontent\r\n--x--\r\n']).encode()

    status, _ = send(cloud, "POST", f"/{unique}", body, **{"Content-Type": "multipart/form-data; boundary=x"})

    assert status == (204 if secret is None else 403)


def chunked(cloud: Cloud, url: str, chunks: list[bytes], spoil: bool = False) -> AWSRequest:
    """Return a signed upload in chunks, https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html."""
    import hmac

    whole = sum(map(len, chunks))
    headers = {"X-Amz-Content-SHA256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "Content-Encoding": "aws-chunked",
               "X-Amz-Decoded-Content-Length": str(whole)}  # fmt: skip
    request = AWSRequest("PUT", url, headers=headers)
    signer = S3SigV4Auth(root(cloud), "s3", "us-east-1")
    with (
        patch.object(S3SigV4Auth, "_should_sha256_sign_payload", return_value=True),
        patch.object(S3SigV4Auth, "payload", return_value="STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
    ):
        signer.add_auth(request)
    date = request.context["timestamp"]
    scope, previous = f"{date[:8]}/us-east-1/s3/aws4_request", request.headers["Authorization"].rpartition("=")[2]
    key = b"AWS4" + root(cloud).secret_key.encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    body = io.BytesIO()
    for chunk in [*chunks, b""]:
        hashes = "\n".join([hashlib.sha256(b"").hexdigest(), hashlib.sha256(chunk).hexdigest()])
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{date}\n{scope}\n{previous}\n{hashes}"
        previous = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        sent = chunk[::-1] if spoil else chunk
        body.write(f"{len(chunk):x};chunk-signature={previous}\r\n".encode() + sent + b"\r\n")
    request.data = body.getvalue()
    return request


def test_chunks_are_signed(cloud: Cloud, unique: str) -> None:
    """A changed chunk is rejected."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=unique)
    for spoil in (True, False):
        request = chunked(cloud, f"{cloud.endpoint_url}/{unique}/key", [b"a1" * 40_000, b"end"], spoil)
        status, answer = send(cloud, "PUT", f"/{unique}/key", request.data, **texts(request.headers))
        assert status == (403 if spoil else 200), answer
        assert ("SignatureDoesNotMatch" in answer) == spoil
    assert s3.get_object(Bucket=unique, Key="key")["Body"].read() == b"a1" * 40_000 + b"end"


def test_public_objects_need_no_signature(cloud: Cloud, unique: str) -> None:
    """Only where the bucket's own policy makes them public."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=unique)
    s3.put_object(Bucket=unique, Key="key", Body=b"content")
    assert send(cloud, "GET", f"/{unique}/key")[0] == 403
    s3.delete_public_access_block(Bucket=unique)
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{unique}/*"}
    s3.put_bucket_policy(Bucket=unique, Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))

    assert send(cloud, "GET", f"/{unique}/key") == (200, "content")
    assert send(cloud, "PUT", f"/{unique}/key", b"other")[0] == 403
    assert send(cloud, "GET", f"/{unique}")[0] == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/_ministack/reset"),
        ("POST", "/_ministack/config"),
        ("GET", "/_ministack/health"),
        ("GET", "/_ministack/ready"),
        ("GET", "/_localstack/health"),
        ("GET", "/health"),
        ("GET", "/_ministack/ses/messages"),
        ("GET", "/_ministack/sqs/messages"),
        ("GET", "/_ministack/sns/sms-messages"),
        ("GET", "/_ministack/transfer/sftp-ports"),
        ("GET", "/_ministack/iot/ca.pem"),
        ("GET", "/_ministack/rds/ca.pem"),
        ("GET", "/_ministack/elasticache/ca.pem"),
        ("POST", "/_ministack/rds/iam-auth"),
        ("GET", "/_ministack/lambda-code/000000000000/us-east-1/f"),
        ("GET", "/_ministack/lambda-layers/000000000000/us-east-1/l/1/content"),
        ("POST", "/_mlops/clock"),
        ("GET", "/_mlops/faults"),
        ("POST", "/_mlops/faults"),
    ],
)
def test_internal_addresses_need_roots_signature(
    cloud: Cloud, method: str, path: str, acting_as: Callable[..., Any], make_role: Callable[..., str]
) -> None:
    """They reject requests without a credential, with a wrong one, or of a role."""
    assert send(cloud, method, path, b"{}" if method == "POST" else b"")[0] == 403
    url = cloud.endpoint_url + path
    role = acting_as(make_role())("sts")._request_signer._credentials
    for credentials in (Credentials("test", "test"), role):
        request = AWSRequest(method, url, data=b"{}" if method == "POST" else b"")
        SigV4Auth(credentials, "mlops", "us-east-1").add_auth(request)
        assert send(cloud, method, path, request.data, **texts(request.headers))[0] == 403


def test_root_reaches_internal_addresses(cloud: Cloud) -> None:
    """With a signature like any other call."""
    assert cloud.call("/_ministack/health")["auth"] == "enabled"
    assert cloud.call("/_mlops/clock")["scale"] == 1
    with pytest.raises(CloudError, match="unknown address"):
        cloud.call("/_mlops/weather")


def test_every_caller_may_ask_for_the_time(
    cloud: Cloud, acting_as: Callable[..., Any], make_role: Callable[..., str]
) -> None:
    """Commands of any user read the time of the embedded cloud; without a key they cannot."""
    request = AWSRequest("GET", f"{cloud.endpoint_url}/_mlops/clock")
    SigV4Auth(acting_as(make_role())("sts")._request_signer._credentials, "mlops", "us-east-1").add_auth(request)

    assert send(cloud, "GET", "/_mlops/clock", **texts(request.headers))[0] == 200
    assert send(cloud, "GET", "/_mlops/clock")[0] == 403


def test_a_capability_in_the_path_is_enough(cloud: Cloud) -> None:
    """Custom resources and wait conditions respond by a presigned URL; unknown URLs have no effect."""
    assert send(cloud, "PUT", f"/_ministack/cfn-response/{uuid.uuid4()}", b"{}")[0] == 200
    assert send(cloud, "GET", f"/_ministack/cfn-response/{uuid.uuid4()}")[0] == 403
    assert send(cloud, "PUT", f"/_ministack/cfn-signal/{uuid.uuid4()}", b"{}")[0] == 404


def test_the_code_of_a_function_is_behind_a_presigned_address(
    cloud: Cloud, unique: str, make_function: Callable[..., str]
) -> None:
    """``Code.Location`` of GetFunction can be fetched without a signature for ten minutes."""
    make_function(cloud, unique, {"handler.py": "def handler(event, context): return 1"})

    location = cloud.client("lambda").get_function(FunctionName=unique)["Code"]["Location"]

    with urllib.request.urlopen(location) as answer:  # noqa: S310 - http on 127.0.0.1
        assert answer.read(2) == b"PK"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(location.replace("X-Amz-Signature=", "X-Amz-Signature=0"))  # noqa: S310 - as above


def test_the_registry_takes_its_own_token(cloud: Cloud, unique: str) -> None:
    """GetAuthorizationToken returns a secret password."""
    ecr = cloud.client("ecr")
    ecr.create_repository(repositoryName=unique)
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]

    assert send(cloud, "GET", "/v2/")[0] == 401
    assert (
        send(cloud, "GET", "/v2/", Authorization=f"Basic {base64.b64encode(b'AWS:ministack-auth-token').decode()}")[0]
        == 401
    )
    assert send(cloud, "GET", "/v2/", Authorization=f"Basic {token}")[0] == 200
    assert send(cloud, "POST", f"/v2/{unique}/blobs/uploads/", Authorization=f"Basic {token}")[0] == 202


def test_secrets_are_random_and_kept(own_cloud: Callable[..., Cloud]) -> None:
    """One secret per home, readable by its owner only, the same after a restart; function sessions cannot be derived from names."""
    cloud = own_cloud()
    secret = cloud.environment()["AWS_SECRET_ACCESS_KEY"]
    file = cloud.home / "root-secret"

    assert len(secret) == 40
    assert file.read_text() == secret
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(cloud.home.stat().st_mode) == 0o700
    cloud.down()
    assert own_cloud().environment()["AWS_SECRET_ACCESS_KEY"] == secret


def test_every_kind_of_client_gets_in(cloud: Cloud, unique: str) -> None:
    """Names with spaces, signs and non-ASCII letters in paths and queries, sent as by botocore."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=unique)
    for key in ("plain", "a b", "a+b", "a%20b", "ä/ö", "a//b", "./a", "a=b&c", "~_-.!*'()"):
        s3.put_object(Bucket=unique, Key=key, Body=key.encode())
        assert s3.get_object(Bucket=unique, Key=key)["Body"].read() == key.encode()
        assert [row["Key"] for row in s3.list_objects_v2(Bucket=unique, Prefix=key)["Contents"]] == [key]
    lambdas = cloud.client("lambda")
    assert code_of(lambda: lambdas.get_function(FunctionName="arn:aws:lambda:us-east-1:000000000000:function:f")) == (
        "ResourceNotFoundException"
    )
    session = botocore.session.get_session()
    session.set_credentials("test", root(cloud).secret_key)
    local = session.create_client("s3", "us-east-1", endpoint_url=f"http://localhost:{cloud.port}")
    assert local.head_bucket(Bucket=unique)["ResponseMetadata"]["HTTPStatusCode"] == 200
