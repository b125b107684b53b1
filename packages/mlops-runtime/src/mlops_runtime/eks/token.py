"""The bearer token by which EKS knows who asks: a presigned call of STS, which the cluster makes itself.

See: https://docs.aws.amazon.com/eks/latest/userguide/cluster-auth.html and
https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster
"""

import base64
from typing import TYPE_CHECKING

from botocore.config import Config
from botocore.signers import RequestSigner

if TYPE_CHECKING:
    import boto3

PREFIX = "k8s-aws-v1."
CLUSTER_HEADER = "x-k8s-aws-id"
_REAL = Config(ignore_configured_endpoint_urls=True)  # type: ignore[call-arg]  # the stubs do not know it
_EXPIRES_SECONDS = 60  # of the signed URL; the authenticator takes it for 15 minutes from the signature on


class TokenError(RuntimeError):
    """No token can be signed."""


class BearerToken:
    """Makes tokens for one cluster, each good for a quarter of an hour.

    Args:
        session: Whose credentials sign.
        cluster: Name of the cluster; the signature holds it, so that no other cluster takes the token.

    Example:
        >>> BearerToken(boto3.Session(), "serving")()[:11]  # doctest: +SKIP
        'k8s-aws-v1.'
    """

    def __init__(self, session: "boto3.Session", cluster: str) -> None:
        self._session, self._cluster = session, cluster

    def __call__(self) -> str:
        """Return a new token.

        Raises:
            TokenError: If the session has no credentials or no region.
        """
        credentials, region = self._session.get_credentials(), self._session.region_name
        if credentials is None or region is None:
            missing = "credentials" if credentials is None else "a region"
            raise TokenError(
                f"a token for cluster {self._cluster!r} needs a session with {missing}, got one without; configure it"
            )
        # the cluster calls the real STS of its region, whatever endpoint this process is pointed at
        client = self._session.client("sts", region_name=region, config=_REAL)
        signer = RequestSigner(
            client.meta.service_model.service_id, region, "sts", "v4", credentials, self._session.events
        )
        request = {
            "method": "GET",
            "url": f"{client.meta.endpoint_url}/?Action=GetCallerIdentity&Version=2011-06-15",
            "body": {},
            "headers": {CLUSTER_HEADER: self._cluster},
            "context": {},
        }
        url = signer.generate_presigned_url(request, region_name=region, expires_in=_EXPIRES_SECONDS, operation_name="")
        return PREFIX + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")
