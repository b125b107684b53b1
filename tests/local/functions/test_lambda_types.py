"""Lambda's CloudFormation types: roles are checked as by Lambda, layers are accepted and not mounted."""

import io
import json
import time
import zipfile
from importlib import metadata

import pytest

from mlops_local.functions import lambda_types

CODE = "import importlib.util\ndef handler(event, context):\n    return importlib.util.find_spec('layer_module') is not None\n"


def role(service="lambda.amazonaws.com", *actions):
    """A role for a service with actions on everything."""
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}
    properties = {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]}}
    if actions:
        properties["Policies"] = [{"PolicyName": "p", "PolicyDocument": policy}]
    return {"Type": "AWS::IAM::Role", "Properties": properties}


def function(**properties):
    """A function with the role `Role`."""
    base = {
        "Runtime": "python3.13",
        "Handler": "index.handler",
        "Role": {"Fn::GetAtt": ["Role", "Arn"]},
        "Code": {"ZipFile": CODE},
    }
    return {"Type": "AWS::Lambda::Function", "Properties": {**base, **properties}}


@pytest.fixture
def create(cloud):
    """Create a stack; return its failure reasons, empty on success, and its outputs."""
    client = cloud.client("cloudformation")

    def run(name, resources, outputs=None):
        template = {
            "Resources": resources,
            "Outputs": {key: {"Value": value} for key, value in (outputs or {}).items()},
        }
        client.create_stack(StackName=name, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_NAMED_IAM"])
        while (stack := client.describe_stacks(StackName=name)["Stacks"][0])["StackStatus"].endswith("_IN_PROGRESS"):
            time.sleep(0.05)
        events = client.describe_stack_events(StackName=name)["StackEvents"]
        reasons = [event["ResourceStatusReason"] for event in events if event["ResourceStatus"] == "CREATE_FAILED"]
        return " | ".join(reasons), {row["OutputKey"]: row["OutputValue"] for row in stack.get("Outputs", [])}

    return run


def test_keeps_network_key_and_dead_letters(create, cloud):
    """The API returns the declared values."""
    network = ("ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface")
    resources = {
        "Role": role("lambda.amazonaws.com", "sqs:SendMessage", *network),
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Key": {"Type": "AWS::KMS::Key", "Properties": {}},
        "Function": function(
            VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}, KmsKeyArn={"Fn::GetAtt": ["Key", "Arn"]},
            DeadLetterConfig={"TargetArn": {"Fn::GetAtt": ["Queue", "Arn"]}},
        ),
    }  # fmt: skip
    outputs = {
        "Name": {"Ref": "Function"},
        "Queue": {"Fn::GetAtt": ["Queue", "Arn"]},
        "Key": {"Fn::GetAtt": ["Key", "Arn"]},
    }
    reasons, values = create("lambda-full", resources, outputs)
    assert reasons == ""
    config = cloud.client("lambda").get_function_configuration(FunctionName=values["Name"])
    assert (config["VpcConfig"]["SubnetIds"], config["VpcConfig"]["SecurityGroupIds"]) == (["subnet-1"], ["sg-1"])
    assert (config["KMSKeyArn"], config["DeadLetterConfig"]) == (values["Key"], {"TargetArn": values["Queue"]})


def test_fails_for_a_role_that_lambda_cannot_assume(create):
    """Another service's role is rejected with Lambda's message."""
    reasons, _ = create("lambda-stranger", {"Role": role("ec2.amazonaws.com"), "Function": function()})
    assert reasons == "the role defined for the function cannot be assumed by Lambda"


def test_fails_with_every_permission_that_the_role_lacks(create):
    """A function in a VPC needs permissions for its network interfaces."""
    resources = {"Role": role("lambda.amazonaws.com", "ec2:CreateNetworkInterface"),
                 "Function": function(VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]})}  # fmt: skip
    reasons, _ = create("lambda-network", resources)
    assert "the provided execution role does not have permissions: " in reasons
    assert "ec2:DescribeNetworkInterfaces" in reasons
    assert "ec2:CreateNetworkInterface" not in reasons


def test_fails_for_variables_that_are_too_large(create, cloud):
    """Names and the escapes of JSON in JSON count too, in a template and by the API."""
    # 4,096 bytes with {"A":""}; each quote counts twice
    fits = {"A": '"' * 2044}
    reasons, values = create(
        "lambda-variables",
        {"Role": role("lambda.amazonaws.com"), "Function": function(Environment={"Variables": fits})},
        {"Name": {"Ref": "Function"}},
    )
    assert reasons == ""
    large = {"Variables": fits | {"A": fits["A"] + "."}}
    reasons, _ = create("lambda-large", {"Role": role("lambda.amazonaws.com"), "Function": function(Environment=large)})
    assert "exceeded the 4KB limit. String measured: {" in reasons

    client = cloud.client("lambda")
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="exceeded the 4KB limit"):
        client.update_function_configuration(FunctionName=values["Name"], Environment=large)
    assert client.get_function_configuration(FunctionName=values["Name"])["Environment"]["Variables"] == fits


def test_fails_for_a_queue_that_the_role_may_not_read(create):
    """The mapping is rejected instead of silently reading nothing."""
    mapping = {"Type": "AWS::Lambda::EventSourceMapping", "Properties": {
        "FunctionName": {"Ref": "Function"}, "EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]}}}  # fmt: skip
    resources = {"Role": role(), "Function": function(), "Queue": {"Type": "AWS::SQS::Queue"}, "Mapping": mapping}
    reasons, _ = create("lambda-deaf", resources)
    assert "sqs:ReceiveMessage" in reasons


def layer_zip(**distributions):
    """A layer with distributions and one module."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("python/layer_module.py", "")
        for name, version in distributions.items():
            archive.writestr(f"python/{name}-{version}.dist-info/METADATA", "")
    return buffer.getvalue()


def test_accepts_a_layer_without_mounting_it(create, cloud):
    """The function does not see the layer's path; the layer's distributions are installed here."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="lambda-layers")
    s3.put_object(Bucket="lambda-layers", Key="good", Body=layer_zip(botocore=metadata.version("botocore")))
    layer = {
        "Type": "AWS::Lambda::LayerVersion",
        "Properties": {"Content": {"S3Bucket": "lambda-layers", "S3Key": "good"}},
    }
    resources = {"Role": role(), "Layer": layer, "Function": function(Layers=[{"Ref": "Layer"}])}
    reasons, values = create("lambda-layer", resources, {"Name": {"Ref": "Function"}, "Layer": {"Ref": "Layer"}})
    assert reasons == ""
    client = cloud.client("lambda")
    assert client.get_function_configuration(FunctionName=values["Name"])["Layers"][0]["Arn"] == values["Layer"]
    assert json.loads(client.invoke(FunctionName=values["Name"])["Payload"].read()) is False


def test_fails_for_a_layer_that_this_environment_does_not_satisfy(create, cloud):
    """Names every distribution that is missing or has another major version."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="lambda-layers-bad")
    s3.put_object(Bucket="lambda-layers-bad", Key="bad", Body=layer_zip(botocore="99.0.0", never_heard_of="1.0"))
    layer = {
        "Type": "AWS::Lambda::LayerVersion",
        "Properties": {"Content": {"S3Bucket": "lambda-layers-bad", "S3Key": "bad"}},
    }
    reasons, _ = create("lambda-bad-layer", {"Layer": layer})
    assert f"botocore is {metadata.version('botocore')} here and 99.0.0 in the layer" in reasons
    assert "never_heard_of 1.0 is not installed here" in reasons


def zeros(mebibytes):
    """A layer of that uncompressed size, tiny when compressed."""
    buffer, block = io.BytesIO(), bytes(1024 * 1024)
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("python/zeros.bin", "w") as file,
    ):
        for _ in range(mebibytes):
            file.write(block)
    return buffer.getvalue()


def test_fails_for_code_and_layers_that_are_too_large(create, cloud):
    """Uncompressed and in total, by a stack or a call; a layer alone must fit too."""
    s3, client = cloud.client("s3"), cloud.client("lambda")
    s3.create_bucket(Bucket="lambda-sizes")
    layers = {}
    for size in (149, 100, 251):
        s3.put_object(Bucket="lambda-sizes", Key=str(size), Body=zeros(size))
        content = {"S3Bucket": "lambda-sizes", "S3Key": str(size)}
        layers[f"Layer{size}"] = {"Type": "AWS::Lambda::LayerVersion", "Properties": {"Content": content}}
    most = "the maximum allowed size of 262144000 bytes"
    small = {name: layers[name] for name in ("Layer149", "Layer100")}
    attached = [{"Ref": name} for name in small]
    resources = {"Role": role(), **small, "Function": function(Layers=attached)}
    fits, made = create("lambda-fits", resources, {"A": attached[0], "B": attached[1], "Name": {"Ref": "Function"}})
    twice = {"Role": role(), "Layer149": layers["Layer149"], "Other": layers["Layer149"]}
    too_much, _ = create(
        "lambda-together", {**twice, "Function": function(Layers=[{"Ref": "Layer149"}, {"Ref": "Other"}])}
    )
    alone, _ = create("lambda-alone", {"Layer251": layers["Layer251"]})

    assert fits == ""
    assert too_much.startswith(f"Function code combined with layers exceeds {most}. The actual size is 3124")
    assert alone == "Unzipped size must be smaller than 262144000 bytes"
    code = zeros(2)
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="262144000"):
        client.create_function(
            FunctionName="lambda-by-call",
            Runtime="python3.13",
            Handler="index.handler",
            Role=client.get_function_configuration(FunctionName=made["Name"])["Role"],
            Code={"ZipFile": code},
            Layers=[made["A"], made["B"]],
        )


def test_lists_the_distributions_of_a_layer():
    """Reads names with dashes and an empty layer too."""
    assert lambda_types.layer_distributions(layer_zip(a_b="1.2")) == {("a_b", "1.2")}
    assert lambda_types.layer_distributions(b"") == set()
