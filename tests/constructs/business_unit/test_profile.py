"""Profiles."""

import aws_cdk as cdk

from mlops_constructs import Profile


def test_production_keeps_and_development_destroys() -> None:
    """The two differ in what becomes of data, and in zones."""
    assert (Profile.PRODUCTION.removal_policy, Profile.PRODUCTION.zones) == (cdk.RemovalPolicy.RETAIN, 2)
    assert (Profile.DEVELOPMENT.removal_policy, Profile.DEVELOPMENT.zones) == (cdk.RemovalPolicy.DESTROY, 1)
