"""AWS WAF web ACL of an API: a limit on body sizes, and AWS's managed rules without their limit of 8 KB."""

import aws_cdk as cdk
from aws_cdk import aws_wafv2 as waf

from constructs import Construct
from mlops_constructs.compliance import acknowledge_family

# possible inspection limits in KB; each step above 16 KB costs more
# https://docs.aws.amazon.com/waf/latest/developerguide/web-acl-setting-body-inspection-limit.html
INSPECTED = (16, 32, 48, 64)
# last segment of the path of jobs
JOBS = "jobs"
_AS_IT_IS = waf.CfnWebACL.TextTransformationProperty(priority=0, type="NONE")
_MANAGED = ("AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet")
_NO_LOG = (
    "the API's access log contains blocked requests, with status and cause; rejected: WAF logs, which contain headers with tokens "
    "and keys of callers"
)


def define_firewall(scope: Construct, id: str, *, stage_arn: str, max_body_size: cdk.Size, name: str) -> waf.CfnWebACL:
    """Define the web ACL of a stage.

    AWS's common rule set blocks bodies over 8 KB, about 29 rows; that rule only counts here, and a separate rule limits the size.
    Jobs are limited by API Gateway only: the web ACL inspects the first part of their bodies.

    Args:
        scope: Parent construct.
        id: Construct id.
        max_body_size: Maximum size of a body, up to 64 KiB, the largest inspection limit.
        name: Name of the API, for metrics.
    """
    size = int(max_body_size.to_kibibytes())
    acl = waf.CfnWebACL(
        scope,
        id,
        scope="REGIONAL",
        default_action=waf.CfnWebACL.DefaultActionProperty(allow=waf.CfnWebACL.AllowActionProperty()),
        visibility_config=_visible(name),
        association_config=waf.CfnWebACL.AssociationConfigProperty(
            request_body={
                "API_GATEWAY": waf.CfnWebACL.RequestBodyAssociatedResourceTypeConfigProperty(
                    default_size_inspection_limit=f"KB_{next(step for step in INSPECTED if size <= step)}"
                )
            }
        ),
        rules=[
            waf.CfnWebACL.RuleProperty(
                name="BodySize",
                priority=0,
                action=waf.CfnWebACL.RuleActionProperty(block=waf.CfnWebACL.BlockActionProperty()),
                visibility_config=_visible(f"{name}-BodySize"),
                statement=waf.CfnWebACL.StatementProperty(
                    and_statement=waf.CfnWebACL.AndStatementProperty(statements=[_larger(size * 1024), _no_job()])
                ),
            ),
            *(_managed(place, rules, name) for place, rules in enumerate(_MANAGED, start=1)),
        ],
    )
    acknowledge_family(acl, "WAFv2LoggingEnabled", _NO_LOG)
    waf.CfnWebACLAssociation(scope, f"{id}Association", web_acl_arn=acl.attr_arn, resource_arn=stage_arn)
    return acl


def _larger(size: int) -> waf.CfnWebACL.StatementProperty:
    return waf.CfnWebACL.StatementProperty(
        size_constraint_statement=waf.CfnWebACL.SizeConstraintStatementProperty(
            comparison_operator="GT",
            size=size,
            # bodies larger than the inspection limit match too
            field_to_match=waf.CfnWebACL.FieldToMatchProperty(
                body=waf.CfnWebACL.BodyProperty(oversize_handling="MATCH")
            ),
            text_transformations=[_AS_IT_IS],
        )
    )


def _no_job() -> waf.CfnWebACL.StatementProperty:
    of_job = waf.CfnWebACL.ByteMatchStatementProperty(
        positional_constraint="ENDS_WITH",
        search_string=f"/{JOBS}",
        field_to_match=waf.CfnWebACL.FieldToMatchProperty(uri_path={}),
        text_transformations=[_AS_IT_IS],
    )
    return waf.CfnWebACL.StatementProperty(
        not_statement=waf.CfnWebACL.NotStatementProperty(
            statement=waf.CfnWebACL.StatementProperty(byte_match_statement=of_job)
        )
    )


def _managed(priority: int, rules: str, name: str) -> waf.CfnWebACL.RuleProperty:
    counted = [
        waf.CfnWebACL.RuleActionOverrideProperty(
            name="SizeRestrictions_BODY",
            action_to_use=waf.CfnWebACL.RuleActionProperty(count=waf.CfnWebACL.CountActionProperty()),
        )
    ]
    return waf.CfnWebACL.RuleProperty(
        name=rules,
        priority=priority,
        override_action=waf.CfnWebACL.OverrideActionProperty(none={}),
        visibility_config=_visible(f"{name}-{rules}"),
        statement=waf.CfnWebACL.StatementProperty(
            managed_rule_group_statement=waf.CfnWebACL.ManagedRuleGroupStatementProperty(
                vendor_name="AWS", name=rules, rule_action_overrides=counted if rules == _MANAGED[0] else None
            )
        ),
    )


def _visible(name: str) -> waf.CfnWebACL.VisibilityConfigProperty:
    # sampled requests would contain headers with callers' tokens
    return waf.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=False
    )
