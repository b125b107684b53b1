"""Pages at AWS's host names, through the proxy and with a shell's certificates."""

import ssl

import httpx
import pytest
from tests.local.site import BACK, make_sign_in, make_site

from mlops_local.cloud import Cloud


def _client(cloud: Cloud, *, proxy: str = "") -> httpx.Client:
    environment = cloud.environment()
    context = ssl.create_default_context(cafile=environment["AWS_CA_BUNDLE"])
    return httpx.Client(proxy=proxy or environment["HTTPS_PROXY"], verify=context, trust_env=False, timeout=30)


def test_a_page_is_read_at_the_name_of_its_distribution(cloud: Cloud, unique: str) -> None:
    """Over TLS; HTTP is redirected to it."""
    name = make_site(cloud, unique)
    with _client(cloud) as client:
        read, led = client.get(f"https://{name}/"), client.get(f"http://{name}/index.html?a=1")

    assert (read.status_code, "<title>site</title>" in read.text) == (200, True)
    assert (led.status_code, led.headers["location"]) == (301, f"https://{name}/index.html?a=1")
    assert f"https://{name}" in cloud.status()["pages"]


@pytest.mark.parametrize("path", ["logout", "oauth2/authorize", "oauth2/userInfo"])
def test_every_path_is_the_distributions(cloud: Cloud, unique: str, path: str) -> None:
    """Apps may have pages at Cognito's paths."""
    name = make_site(cloud, unique)
    cloud.client("s3").put_object(Bucket=unique, Key=path, Body=b"of the app")
    with _client(cloud) as client:
        read, refused = client.get(f"https://{name}/{path}"), client.post(f"https://{name}/oauth2/token", data={})

    assert (read.status_code, read.text) == (200, "of the app")
    assert (refused.status_code, "cloudfront" in refused.headers["x-cache"].lower()) == (403, True)


def test_a_pool_signs_people_in_at_its_name(cloud: Cloud, unique: str) -> None:
    """For its clients, as at the embedded cloud's own address."""
    name, client_id = make_sign_in(cloud, unique)
    asked = {"response_type": "code", "client_id": client_id, "redirect_uri": BACK, "scope": "openid"}
    with _client(cloud) as client:
        page = client.get(f"https://{name}/oauth2/authorize", params=asked)
        refused = client.get(f"https://{name}/oauth2/authorize", params={**asked, "redirect_uri": f"{BACK}x"})

    assert (page.status_code, "password" in page.text) == (200, True), page.text
    assert refused.status_code == 400


def test_pages_are_for_everyone(cloud: Cloud, unique: str) -> None:
    """As on AWS: a browser sends no proxy password, and reaches nothing else without it."""
    name = make_site(cloud, unique)
    with _client(cloud, proxy=f"http://127.0.0.1:{cloud.proxy_port}") as client:
        assert client.get(f"https://{name}/").status_code == 200
        for other in ("https://sts.us-east-1.amazonaws.com/", "https://other.cloudfront.net/", f"https://{name}:8443/"):
            with pytest.raises(httpx.ProxyError, match="407"):
                client.get(other)


def test_pages_of_others_are_not_served(cloud: Cloud, unique: str) -> None:
    """A pool of another prefix or region is AWS's, and another distribution is passed on."""
    own, _ = make_sign_in(cloud, unique)
    with _client(cloud) as client:
        for name in (f"x{own}", own.replace("us-east-1", "eu-west-1"), f"a.{own}"):
            with pytest.raises(httpx.ProxyError, match=r"403 .*is AWS's and not in the embedded cloud"):
                client.get(f"https://{name}/oauth2/authorize")
