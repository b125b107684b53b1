"""A CDK app of AWS's own constructs with the resource types of ours, for third-party clients."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import (
    Duration,
    RemovalPolicy,
)
from aws_cdk import (
    aws_cloudwatch as cloudwatch,
)
from aws_cdk import (
    aws_cloudwatch_actions as actions,
)
from aws_cdk import (
    aws_dynamodb as dynamodb,
)
from aws_cdk import (
    aws_ec2 as ec2,
)
from aws_cdk import (
    aws_events as events,
)
from aws_cdk import (
    aws_events_targets as targets,
)
from aws_cdk import (
    aws_glue as glue,
)
from aws_cdk import (
    aws_iam as iam,
)
from aws_cdk import (
    aws_kms as kms,
)
from aws_cdk import (
    aws_lambda as lambda_,
)
from aws_cdk import (
    aws_lambda_event_sources as sources,
)
from aws_cdk import (
    aws_logs as logs,
)
from aws_cdk import (
    aws_s3 as s3,
)
from aws_cdk import (
    aws_sns as sns,
)
from aws_cdk import (
    aws_sns_subscriptions as subscriptions,
)
from aws_cdk import (
    aws_sqs as sqs,
)
from aws_cdk import (
    aws_stepfunctions as stepfunctions,
)
from aws_cdk import (
    aws_stepfunctions_tasks as tasks,
)

from constructs import Construct

ENVIRONMENT = cdk.Environment(account="000000000000", region="us-east-1")
FUNCTION = """
import json, os, urllib.request
import boto3

def handler(event, context):
    if "ResponseURL" in event:
        ok = event["ResourceProperties"].get("Fail") != "true"
        data = {"Greeting": "hello " + event["ResourceProperties"].get("Name", "")}
        answer = {"Status": "SUCCESS" if ok else "FAILED", "Reason": "told to fail", "StackId": event["StackId"],
                  "RequestId": event["RequestId"], "LogicalResourceId": event["LogicalResourceId"],
                  "PhysicalResourceId": "greeting", "Data": data}
        body = json.dumps(answer).encode()
        urllib.request.urlopen(urllib.request.Request(event["ResponseURL"], data=body, method="PUT"))
        return None
    if "Records" in event:
        table = boto3.client("dynamodb")
        for record in event["Records"]:
            table.put_item(TableName=os.environ["TABLE"], Item={"id": {"S": "message"}, "body": {"S": record["body"]}})
        return {"batchItemFailures": []}
    return {"seen": event}
"""


class Everything(cdk.Stack):
    """One resource of each type."""

    def __init__(
        self, scope: Construct, id: str, *, code: Path, name: str = "world", columns: int = 2, fail: bool = False
    ) -> None:
        super().__init__(scope, id, env=ENVIRONMENT)
        key = kms.Key(self, "Key", enable_key_rotation=True, removal_policy=RemovalPolicy.DESTROY)
        for service in (
            "logs.us-east-1.amazonaws.com",
            "cloudwatch.amazonaws.com",
            "events.amazonaws.com",
            "sns.amazonaws.com",
        ):
            key.grant_encrypt_decrypt(iam.ServicePrincipal(service))
        vpc = ec2.Vpc(
            self, "Vpc", availability_zones=["us-east-1a", "us-east-1b"], nat_gateways=0, restrict_default_security_group=False,
            subnet_configuration=[ec2.SubnetConfiguration(name="Isolated", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)],
        )  # fmt: skip
        vpc.add_gateway_endpoint("S3Endpoint", service=ec2.GatewayVpcEndpointAwsService.S3)
        vpc.add_gateway_endpoint("DynamoEndpoint", service=ec2.GatewayVpcEndpointAwsService.DYNAMODB)
        vpc.add_interface_endpoint("KmsEndpoint", service=ec2.InterfaceVpcEndpointAwsService.KMS)
        flow = logs.LogGroup(self, "FlowLogs", encryption_key=key, removal_policy=RemovalPolicy.DESTROY)
        vpc.add_flow_log("FlowLog", destination=ec2.FlowLogDestination.to_cloud_watch_logs(flow))
        group = ec2.SecurityGroup(self, "Group", vpc=vpc, allow_all_outbound=False)
        group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443))  # addresses of S3 are outside the network
        group.connections.allow_from(group, ec2.Port.tcp(443))

        access_logs = s3.Bucket(self, "AccessLogs", enforce_ssl=True, removal_policy=RemovalPolicy.DESTROY)
        bucket = s3.Bucket(
            self, "Data", encryption=s3.BucketEncryption.KMS, encryption_key=key, bucket_key_enabled=True, enforce_ssl=True,
            versioned=True, block_public_access=s3.BlockPublicAccess.BLOCK_ALL, server_access_logs_bucket=access_logs,
            server_access_logs_prefix="data/", event_bridge_enabled=False, removal_policy=RemovalPolicy.DESTROY,
            lifecycle_rules=[s3.LifecycleRule(expiration=Duration.days(30), prefix="tmp/")],
        )  # fmt: skip
        bucket.node.default_child.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
            event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(event_bridge_enabled=True)
        )
        kept = s3.Bucket(
            self, "Audit", versioned=True, object_lock_enabled=True, removal_policy=RemovalPolicy.RETAIN,
            object_lock_default_retention=s3.ObjectLockRetention.governance(Duration.days(1)),
        )  # fmt: skip
        table = dynamodb.Table(
            self, "Table", partition_key=dynamodb.Attribute(name="id", type=dynamodb.AttributeType.STRING),
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED, encryption_key=key, time_to_live_attribute="expires",
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(point_in_time_recovery_enabled=True),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST, removal_policy=RemovalPolicy.DESTROY,
        )  # fmt: skip
        dead = sqs.Queue(
            self, "DeadLetters", encryption=sqs.QueueEncryption.KMS, encryption_master_key=key, enforce_ssl=True
        )
        queue = sqs.Queue(
            self, "Queue", encryption=sqs.QueueEncryption.KMS, encryption_master_key=key, enforce_ssl=True,
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead, max_receive_count=3), visibility_timeout=Duration.seconds(60),
        )  # fmt: skip
        layer = lambda_.LayerVersion(self, "Layer", code=lambda_.Code.from_asset(str(code / "layer")))
        function = lambda_.Function(
            self, "Function", runtime=lambda_.Runtime.PYTHON_3_13, handler="index.handler",
            code=lambda_.Code.from_asset(str(code / "function")), vpc=vpc, security_groups=[group], layers=[layer],
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED), timeout=Duration.seconds(30),
            environment={"TABLE": table.table_name}, environment_encryption=key, tracing=lambda_.Tracing.ACTIVE,
            log_group=logs.LogGroup(self, "FunctionLogs", encryption_key=key, removal_policy=RemovalPolicy.DESTROY),
        )  # fmt: skip
        function.node.add_dependency(vpc)  # its responses need the VPC endpoints in each phase of the stack
        table.grant_write_data(function)
        function.add_event_source(sources.SqsEventSource(queue, batch_size=1, report_batch_item_failures=True))
        topic = sns.Topic(self, "Topic", master_key=key, enforce_ssl=True)
        topic.grant_publish(
            iam.ServicePrincipal("cloudwatch.amazonaws.com")
        )  # the policy that enforces TLS drops the default one
        topic.add_subscription(subscriptions.SqsSubscription(dead, raw_message_delivery=True))
        bus = events.EventBus(self, "Bus")
        events.Rule(self, "ToQueue", event_bus=bus, event_pattern=events.EventPattern(source=["foreign"]),
                    targets=[targets.SqsQueue(queue)])  # fmt: skip

        denied = tasks.DynamoPutItem(
            self,
            "PutDenied",
            table=table,
            item={"id": tasks.DynamoAttributeValue.from_string("denied")},
            result_path="$.put",
        )
        invoke = tasks.LambdaInvoke(
            self, "Invoke", lambda_function=function, payload_response_only=True, result_path="$.function"
        )
        role = iam.Role(
            self, "MachineRole",
            assumed_by=iam.ServicePrincipal("states.amazonaws.com", conditions={
                "StringEquals": {"aws:SourceAccount": ENVIRONMENT.account}}),
        )  # fmt: skip
        machine_log = logs.LogGroup(self, "MachineLogs", encryption_key=key, removal_policy=RemovalPolicy.DESTROY)
        choice = (
            stepfunctions.Choice(self, "Which")
            .when(stepfunctions.Condition.is_present("$.put"), denied)
            .otherwise(invoke)
        )
        machine = stepfunctions.StateMachine(
            self, "Machine", role=role.without_policy_updates(),
            definition_body=stepfunctions.DefinitionBody.from_chainable(choice),
            logs=stepfunctions.LogOptions(destination=machine_log, level=stepfunctions.LogLevel.ALL), tracing_enabled=True,
            encryption_configuration=stepfunctions.CustomerManagedEncryptionConfiguration(key),
        )  # fmt: skip
        role.attach_inline_policy(iam.Policy(self, "MachinePolicy", statements=[
            iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=[function.function_arn]),
            iam.PolicyStatement(actions=["kms:Decrypt", "kms:GenerateDataKey"], resources=[key.key_arn]),
        ]))  # fmt: skip

        where = {"Unit": "a"}
        metric = cloudwatch.Metric(
            namespace="Foreign", metric_name="Errors", dimensions_map=where, period=Duration.minutes(1)
        )
        alarm = metric.create_alarm(self, "Alarm", threshold=1, evaluation_periods=1)
        alarm.add_alarm_action(actions.SnsAction(topic))
        cloudwatch.CompositeAlarm(
            self, "Composite", alarm_rule=cloudwatch.AlarmRule.from_alarm(alarm, cloudwatch.AlarmState.ALARM)
        )

        calls = cloudwatch.Metric(
            namespace="Foreign", metric_name="Calls", dimensions_map=where, period=Duration.minutes(1)
        )
        rate = cloudwatch.MathExpression(
            expression="IF(calls > 0, errors / calls, 0)",
            using_metrics={"errors": metric, "calls": calls},
            period=Duration.minutes(1),
        )
        rate.create_alarm(self, "RateAlarm", threshold=0.05, evaluation_periods=1)

        database = glue.CfnDatabase(
            self, "Database", catalog_id=self.account,
            database_input=glue.CfnDatabase.DatabaseInputProperty(name="foreign_features"),
        )  # fmt: skip
        self._iceberg(database, bucket, columns)
        greeting = cdk.CustomResource(
            self, "Greeting", service_token=function.function_arn, resource_type="Custom::Greeting",
            properties={"Name": name, **({"Fail": "true"} if fail else {})},
        )  # fmt: skip
        outputs = {
            "Greeting": greeting.get_att_string("Greeting"), "BucketName": bucket.bucket_name, "AuditName": kept.bucket_name,
            "TableName": table.table_name, "QueueUrl": queue.queue_url, "DeadLettersUrl": dead.queue_url, "KeyArn": key.key_arn,
            "TopicArn": topic.topic_arn, "BusName": bus.event_bus_name, "MachineArn": machine.state_machine_arn,
            "FunctionName": function.function_name, "AlarmName": alarm.alarm_name, "FunctionRole": function.role.role_arn,
        }  # fmt: skip
        for output, value in outputs.items():
            cdk.CfnOutput(self, f"{output}Output", value=value).override_logical_id(output)

    def _iceberg(self, database: glue.CfnDatabase, bucket: s3.Bucket, columns: int) -> None:
        names = ["store", "event_time", "units", "price"][:columns]
        kinds = ["long", "timestamptz", "long", "double"]
        fields = [
            glue.CfnTable.IcebergStructFieldProperty(
                id=position + 1, name=name, type=kinds[position], required=position < 2
            )
            for position, name in enumerate(names)
        ]
        partition = glue.CfnTable.IcebergPartitionFieldProperty(
            source_id=2, field_id=1000, name="event_day", transform="day"
        )
        table = glue.CfnTable(
            self, "Sales", catalog_id=self.account, database_name="foreign_features", name="sales_v1",
            open_table_format_input=glue.CfnTable.OpenTableFormatInputProperty(
                iceberg_input=glue.CfnTable.IcebergInputProperty(
                    metadata_operation="CREATE", version="2",
                    iceberg_table_input=glue.CfnTable.IcebergTableInputProperty(
                        location=f"s3://{bucket.bucket_name}/foreign_features/sales_v1",
                        schema=glue.CfnTable.IcebergSchemaProperty(type="struct", fields=fields),
                        partition_spec=glue.CfnTable.IcebergPartitionSpecProperty(fields=[partition]),
                        properties={"commit.retry.num-retries": "5"},
                    ),
                )
            ),
        )  # fmt: skip
        table.node.add_dependency(database)


def synthesize(output: Path, code: Path, **options: object) -> Path:
    """Write the assembly of the stack `Foreign`.

    Args:
        output: Output folder.
        code: Folder for the function's code.
        options: Passed to `Everything`.
    """
    (code / "function").mkdir(parents=True, exist_ok=True)
    (code / "function" / "index.py").write_text(FUNCTION, "utf-8")
    distribution = code / "layer" / "python" / "botocore-1.0.0.dist-info"
    distribution.mkdir(parents=True, exist_ok=True)
    (distribution / "METADATA").write_text("Name: botocore\nVersion: 1.0.0\n", "utf-8")
    app = cdk.App(outdir=str(output), analytics_reporting=False)
    Everything(app, "Foreign", code=code, **options)
    app.synth()
    return output
