"""Export a synthesized stack as a Terraform module: template, files, variables and outputs, in the format of ``terraform fmt``."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from mlops_runtime.terraform.forced_replacements import FORCED_REPLACEMENTS, replacement_problems

ASSETS_PARAMETER, PREFIX_PARAMETER = "AssetsBucket", "AssetsPrefix"
TEMPLATE_FILE = "template.json"
MARK = "# written by mlops terraform export: change the stack, not this file\n"
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html: limit of a template in S3
MAXIMUM_TEMPLATE = 1_000_000
# variables of every module, for any template
_OWN = (
    "account_id",
    "assets_bucket",
    "assets_key_arn",
    "assets_prefix",
    "cloudformation_role_arn",
    "name",
    "tags",
    "timeout_minutes",
)
_GIVEN = {ASSETS_PARAMETER: "var.assets_bucket", PREFIX_PARAMETER: "local.prefix"}
# from variables only, because a plan must know object keys; each object verifies the account before it is uploaded
_PREFIX = '"${var.assets_prefix == null ? "" : "${var.assets_prefix}/"}${var.account_id}/${var.name}/"'
_IN_ACCOUNT = "data.aws_caller_identity.current.account_id == var.account_id"
_ELSEWHERE = (
    "account_id is ${var.account_id}, but the provider uses account ${data.aws_caller_identity.current.account_id}: "
    "accounts that share a bucket would own the same files, and destroying one would delete those of the other. "
    "Set account_id to the provider's account."
)
_OWN_OUTPUTS = ("stack_id",)
# Minutes. The provider's timeout includes CloudFormation's rollback; when it expires, a new stack is tainted, so that the next
# apply deletes it. A custom resource that does not respond takes an hour to time out, and another during the rollback:
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-cloudformation-customresource.html (ServiceTimeout)
# claim: terraform-waits-for-the-rollback
_SHORTEST_WAIT, _WAIT, _LONGEST_WAIT = 120, 180, 720
_VERSION_PARAMETER, _VERSION_RULE = "BootstrapVersion", "CheckBootstrapVersion"
_NAMES = {
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::Group": "GroupName",
    "AWS::IAM::User": "UserName",
    "AWS::IAM::InstanceProfile": "InstanceProfileName",
}
_STACK = "aws_cloudformation_stack"
_TYPES = {"Number": "number", "CommaDelimitedList": "list(string)"}


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that is rendered verbatim, such as ``var.name``."""

    text: str


Value = str | int | bool | None | Expression | Sequence["Value"] | Mapping[str, "Value"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """An HCL block: its type, labels, arguments and nested blocks.

    Example:
        >>> print(render([Block(kind="variable", labels=("name",), arguments={"type": Expression("string")})]), end="")
        variable "name" {
          type = string
        }
    """

    kind: str
    labels: tuple[str, ...] = ()
    arguments: Mapping[str, Value] = field(default_factory=dict)
    blocks: tuple["Block", ...] = ()


def render(blocks: Sequence[Block]) -> str:
    """Return blocks as a file, separated by empty lines."""
    return "\n".join("\n".join(_block(block)) + "\n" for block in blocks)


def quote(text: str) -> str:
    """Return a string literal in which template sequences are escaped.

    Example:
        >>> print(quote("${a}"))
        "$${a}"
    """
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def expressions(arguments: Mapping[str, Value]) -> dict[str, str]:
    """Return each argument as its rendered expression.

    Example:
        >>> expressions({"name": Expression("var.name"), "minutes": 3})
        {'name': 'var.name', 'minutes': '3'}
    """
    return {name: "\n".join(_value(value)) for name, value in arguments.items()}


def _block(block: Block) -> Iterator[str]:
    labels = "".join(f" {quote(label)}" for label in block.labels)
    yield f"{block.kind}{labels} {{"
    lines = list(_arguments(block.arguments))
    for inner in block.blocks:
        if lines:
            lines.append("")
        lines += _block(inner)
    yield from (f"  {line}" if line else "" for line in lines)
    yield "}"


def _arguments(arguments: Mapping[str, Value]) -> Iterator[str]:
    """Yield the lines of arguments: consecutive one-line arguments are aligned, longer ones are between empty lines."""
    given = [(name, list(_value(value))) for name, value in arguments.items()]
    parts: list[list[str]] = []
    for is_short, group in groupby(given, key=lambda pair: len(pair[1]) == 1):
        pairs = list(group)
        width = max(len(name) for name, _ in pairs) if is_short else 0
        found = [[f"{name.ljust(width)} = {lines[0]}", *lines[1:]] for name, lines in pairs]
        parts += [[line for lines in found for line in lines]] if is_short else found
    for number, part in enumerate(parts):
        yield from ([""] if number else [])
        yield from part


def _value(value: Value) -> Iterator[str]:
    if isinstance(value, Expression):
        yield from value.text.split("\n")
    elif value is None:
        yield "null"
    elif isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, str):
        yield quote(value)
    elif isinstance(value, int):
        yield str(value)
    elif isinstance(value, Mapping):
        yield from _mapping(value)
    else:
        yield f"[{', '.join(' '.join(_value(item)) for item in value)}]"


def _mapping(value: Mapping[str, Value]) -> Iterator[str]:
    if not value:
        yield "{}"
        return
    yield "{"
    named = {key if key.isidentifier() else quote(key): item for key, item in value.items()}
    yield from (f"  {line}" if line else "" for line in _arguments(named))
    yield "}"


class ExportError(Exception):
    """A stack cannot be exported as a module; the message has the reason, what is allowed and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitStack:
    """A synthesized stack."""

    name: str  # the stack's name
    template: Mapping[str, Any]
    bucket: str  # the assets bucket, as written in the template
    # object key of each file, and its path in the module. The template may refer to only some of them
    files: Mapping[str, str]
    tags: Mapping[str, str]  # tags of the stack


def unit_module(stack: UnitStack) -> dict[str, str]:
    """Return the text of each file of the module.

    Raises:
        ExportError: If the template is too large, refers to CDK bootstrap resources, has a parameter whose variable already
            exists, or if a resource of the module had an argument whose change replaces it.

    Example:
        >>> stack = UnitStack(name="Demand", template={"Resources": {}}, bucket="b", files={}, tags={})
        >>> sorted(unit_module(stack))
        ['main.tf', 'outputs.tf', 'template.json', 'variables.tf', 'versions.tf']
    """
    template = _without_bootstrap(stack)
    body = json.dumps(template, separators=(",", ":"), sort_keys=True)
    if len(body.encode()) > MAXIMUM_TEMPLATE:
        raise ExportError(
            f"the template of {stack.name} has {len(body.encode()):,} bytes, CloudFormation accepts {MAXIMUM_TEMPLATE:,}; "
            "split the stack"
        )
    parameters = {name: p for name, p in template.get("Parameters", {}).items() if name not in _GIVEN}
    _check_names(stack, parameters)
    digest = hashlib.sha256(body.encode()).hexdigest()
    return {
        TEMPLATE_FILE: body,
        "versions.tf": MARK + render(_versions()),
        "variables.tf": MARK + render(_variables(stack, parameters)),
        "main.tf": MARK + render(_resources(stack, template, sorted(parameters), digest)),
        "outputs.tf": MARK + render(_outputs(template)),
    }


def variable_name(parameter: str) -> str:
    """Return the variable of a template parameter.

    Example:
        >>> variable_name("ImageDigest")
        'image_digest'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", parameter).lower()


def _check_names(stack: UnitStack, parameters: Mapping[str, object]) -> None:
    """Check that names of parameters and outputs are unique in the module, including its own."""
    declared = {*parameters, *stack.template.get("Parameters", {})} - {_VERSION_PARAMETER}
    twice = [
        *_twice("variable", "parameter", _OWN, declared),
        *_twice("output", "output", _OWN_OUTPUTS, set(stack.template.get("Outputs", {}))),
    ]
    if twice:
        raise ExportError(f"the template of {stack.name}: {'; '.join(twice)}; rename it in the stack")


def _twice(kind: str, source: str, own: Sequence[str], declared: set[str]) -> list[str]:
    by_name: dict[str, list[str]] = {name: [f"the module's own {name}"] for name in own}
    for name in sorted(declared):
        by_name.setdefault(variable_name(name), []).append(f"{source} {name}")
    return [f"{' and '.join(found)} would be {kind} {name!r}" for name, found in by_name.items() if len(found) > 1]


def _without_bootstrap(stack: UnitStack) -> dict[str, Any]:
    template = json.loads(json.dumps(stack.template))
    for section, name in (("Parameters", _VERSION_PARAMETER), ("Rules", _VERSION_RULE)):
        template.get(section, {}).pop(name, None)
        if section in template and not template[section]:
            del template[section]
    template = _moved(template, _places(stack), in_sub=False)
    described = {
        ASSETS_PARAMETER: "Bucket of the files that this template refers to",
        PREFIX_PARAMETER: "Folder of these files in the bucket, with a trailing slash",
    }
    for name, description in described.items():
        template.setdefault("Parameters", {})[name] = {"Type": "String", "Description": description}
    left = sorted(set(re.findall(r"/cdk-bootstrap/[\w/-]+|cdk-[a-z0-9]{1,10}-[\w-]+", json.dumps(template))))
    if left:
        raise ExportError(
            f"the template of {stack.name} refers to {', '.join(left)} of the CDK bootstrap, which a module does not have; "
            "pin images by digest and only use file assets"
        )
    return dict(template)


def _places(stack: UnitStack) -> re.Pattern[str]:
    """Return a pattern of strings to replace: the bucket, and each file's key unless it is part of a longer name."""
    keys = "|".join(re.escape(key) for key in sorted(stack.files))
    return re.compile(
        f"(?P<bucket>{re.escape(stack.bucket)})" + (f"|(?<![\\w.-])(?:{keys})(?![\\w.-])" if keys else "")
    )


def _moved(value: Any, places: re.Pattern[str], *, in_sub: bool) -> Any:
    """Return part of the template with bucket and folder replaced by the parameters."""
    if isinstance(value, Mapping):
        return {key: _moved(item, places, in_sub=key == "Fn::Sub") for key, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, places, in_sub=in_sub and index == 0) for index, item in enumerate(value)]
    if not isinstance(value, str) or not places.search(value):
        return value
    if in_sub:
        return places.sub(_place, value)
    whole = places.fullmatch(value)
    if whole and whole["bucket"]:
        return {"Ref": ASSETS_PARAMETER}
    return {"Fn::Sub": places.sub(_place, value.replace("${", "${!"))}


def _place(match: re.Match[str]) -> str:
    if match["bucket"]:
        return f"${{{ASSETS_PARAMETER}}}"
    return f"${{{PREFIX_PARAMETER}}}{match[0]}"


def _versions() -> list[Block]:
    aws: Value = {"source": "hashicorp/aws", "version": ">= 5.0"}
    providers = Block(kind="required_providers", arguments={"aws": aws})
    return [Block(kind="terraform", arguments={"required_version": ">= 1.5"}, blocks=(providers,))]


def _variables(stack: UnitStack, parameters: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    found = [
        _variable(
            "name",
            "string",
            "Name of the stack.",
            default=stack.name,
            condition='can(regex("^[A-Za-z][A-Za-z0-9-]{0,127}$", var.name))',
            allowed="name must be 1 to 128 letters, digits or hyphens, starting with a letter",
        ),
        _variable(
            "account_id",
            "string",
            "Account of the stack, part of its files' keys. It must be a literal, or known at plan time.",
            condition='can(regex("^[0-9]{12}$", var.account_id))',
            allowed="account_id must be the 12 digits of the stack's account",
        ),
        _variable(
            "assets_bucket",
            "string",
            "Bucket that the unit's files are uploaded to; the deploying principal must have write access.",
            condition='can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.assets_bucket))',
            allowed="assets_bucket must be the name of an S3 bucket: 3 to 63 lower-case letters, digits, dots or hyphens",
        ),
        _variable(
            "assets_prefix",
            "string",
            "Folder of that bucket for the files' own folder, <account>/<stack>. Default: the bucket itself.",
            default=None,
            condition='var.assets_prefix == null || can(regex("^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$", var.assets_prefix))',
            allowed="assets_prefix must be letters, digits, hyphens and underscores, with single slashes between",
        ),
        _variable(
            "assets_key_arn",
            "string",
            "Key that the files are encrypted with; its policy must allow the unit to decrypt through S3. Default: SSE-S3.",
            default=None,
            condition='var.assets_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[0-9a-f-]{36}$", '
            "var.assets_key_arn))",
            allowed="assets_key_arn must be the ARN of a KMS key",
        ),
        _variable(
            "cloudformation_role_arn",
            "string",
            "Role that CloudFormation assumes. Default: the caller's own permissions.",
            default=None,
            condition='var.cloudformation_role_arn == null || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/.+$", '
            "var.cloudformation_role_arn))",
            allowed="cloudformation_role_arn must be the ARN of an IAM role",
        ),
        _variable(
            "timeout_minutes",
            "number",
            "Minutes that Terraform waits for CloudFormation, including a rollback.",
            default=_WAIT,
            condition=f"var.timeout_minutes >= {_SHORTEST_WAIT} && var.timeout_minutes <= {_LONGEST_WAIT} && "
            "floor(var.timeout_minutes) == var.timeout_minutes",
            allowed=f"timeout_minutes must be a whole number from {_SHORTEST_WAIT} to {_LONGEST_WAIT}: a resource may take "
            "an hour, and so may its rollback",
        ),
        _variable("tags", "map(string)", "Additional tags of the stack and its files.", default={}),
    ]
    return found + [_parameter(name, parameters[name]) for name in sorted(parameters)]


def _parameter(name: str, parameter: Mapping[str, Any]) -> Block:
    kind = _TYPES.get(parameter["Type"], "list(string)" if parameter["Type"].startswith("List<") else "string")
    variable = variable_name(name)
    conditions, allowed = [], []
    reference = f"var.{variable}"
    if "AllowedValues" in parameter:
        values = [str(value) for value in parameter["AllowedValues"]]
        conditions.append(f"contains([{', '.join(quote(v) for v in values)}], tostring({reference}))")
        allowed.append(f"one of {', '.join(values)}")
    if "AllowedPattern" in parameter:
        conditions.append(f"can(regex({quote('^(?:' + parameter['AllowedPattern'] + ')$')}, {reference}))")
        allowed.append(f"of the form {parameter['AllowedPattern']}")
    for key, template, words in (
        ("MinValue", "{0} >= {1}", "at least {0}"),
        ("MaxValue", "{0} <= {1}", "at most {0}"),
        ("MinLength", "length({0}) >= {1}", "at least {0} characters"),
        ("MaxLength", "length({0}) <= {1}", "at most {0} characters"),
    ):
        if key in parameter:
            conditions.append(template.format(reference, parameter[key]))
            allowed.append(words.format(parameter[key]))
    extra: dict[str, Value] = {}
    if "Default" in parameter:
        extra["default"] = _default(parameter["Default"], kind)
    if parameter.get("NoEcho"):
        extra["sensitive"] = True
    return _variable(
        variable,
        kind,
        str(parameter.get("Description", f"Parameter {name} of the template.")),
        condition=" && ".join(conditions) or None,
        allowed=f"{variable} must be {' and '.join(allowed)}",
        **extra,
    )


def _default(value: Any, kind: str) -> Value:
    if kind == "list(string)":
        return [item.strip() for item in str(value).split(",")]
    return Expression(str(value)) if kind == "number" else str(value)


def _variable(
    name: str, kind: str, description: str, *, condition: str | None = None, allowed: str = "", **more: Value
) -> Block:
    checks: tuple[Block, ...] = ()
    if condition is not None:
        message = f"{allowed}."
        checks = (Block(kind="validation", arguments={"condition": Expression(condition), "error_message": message}),)
    arguments: dict[str, Value] = {"description": description, "type": Expression(kind), **more}
    return Block(kind="variable", labels=(name,), arguments=arguments, blocks=checks)


def _resources(stack: UnitStack, template: Mapping[str, Any], parameters: Sequence[str], digest: str) -> list[Block]:
    files: Value = {key: stack.files[key] for key in sorted(stack.files)}
    key = Expression(f'"${{local.prefix}}{digest[:16]}.template.json"')
    url = Expression('"https://${data.aws_s3_bucket.assets.bucket_regional_domain_name}/${aws_s3_object.template.key}"')
    blocks = [
        Block(kind="locals", arguments={"prefix": Expression(_PREFIX), "files": files}),
        Block(kind="data", labels=("aws_caller_identity", "current")),
        Block(kind="data", labels=("aws_s3_bucket", "assets"), arguments={"bucket": Expression("var.assets_bucket")}),
        _object(
            "file",
            key=Expression('"${local.prefix}${each.key}"'),
            path="${each.value}",
            for_each=Expression("local.files"),
        ),
        _object("template", key=key, path=TEMPLATE_FILE),
        _stack(stack, template, parameters, url),
    ]
    resources = [block for block in blocks if block.kind == "resource"]
    found = [problem for r in resources for problem in replacement_problems(r.labels[0], expressions(r.arguments))]
    if found:
        raise ExportError(f"the module of {stack.name} could replace resources instead of updating: {'; '.join(found)}")
    return blocks


def _object(label: str, *, key: Value, path: str, for_each: Expression | None = None) -> Block:
    source = f'"${{path.module}}/{path}"'
    arguments: dict[str, Value] = {} if for_each is None else {"for_each": for_each}
    arguments |= {
        "bucket": Expression("var.assets_bucket"),
        "key": key,
        "source": Expression(source),
        "source_hash": Expression(f"filemd5({source})"),
        "server_side_encryption": Expression('var.assets_key_arn == null ? "AES256" : "aws:kms"'),
        "kms_key_id": Expression("var.assets_key_arn"),
        "tags": Expression("var.tags"),
    }
    # the stack switches to the new file before the old one is deleted, and can roll back to it if the update fails
    held = Block(
        kind="precondition",
        arguments={"condition": Expression(_IN_ACCOUNT), "error_message": Expression(f'"{_ELSEWHERE}"')},
    )
    late = Block(kind="lifecycle", arguments={"create_before_destroy": True}, blocks=(held,))
    return Block(kind="resource", labels=("aws_s3_object", label), arguments=arguments, blocks=(late,))


def _stack(stack: UnitStack, template: Mapping[str, Any], parameters: Sequence[str], url: Expression) -> Block:
    values: dict[str, Value] = {name: Expression(given) for name, given in _GIVEN.items()}
    for name in parameters:
        kind = template["Parameters"][name]["Type"]
        reference = f"var.{variable_name(name)}"
        is_list = kind == "CommaDelimitedList" or kind.startswith("List<")
        values[name] = Expression(f'join(",", {reference})' if is_list else reference)
    arguments: dict[str, Value] = {
        "name": Expression("var.name"),
        "template_url": url,
        "capabilities": _capabilities(template),
        "iam_role_arn": Expression("var.cloudformation_role_arn"),
        "policy_body": Expression(f"jsonencode({_policy_text(template)})"),
        "parameters": values,
        "tags": Expression(f"merge({_inline(stack.tags)}, var.tags)"),
        "depends_on": Expression("[aws_s3_object.file]"),
    }
    minutes = Expression('"${var.timeout_minutes}m"')
    timeouts = Block(kind="timeouts", arguments={"create": minutes, "update": minutes, "delete": minutes})
    # set when the stack was created, by an earlier export or CDK; no update can change them
    settings = Expression(f"[{', '.join(FORCED_REPLACEMENTS[_STACK].settings)}]")
    lifecycle = Block(kind="lifecycle", arguments={"ignore_changes": settings})
    return Block(kind="resource", labels=(_STACK, "this"), arguments=arguments, blocks=(timeouts, lifecycle))


def _policy_text(template: Mapping[str, Any]) -> str:
    """Return the stack policy: resources that are retained on deletion may be neither replaced nor deleted by an update."""
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/protect-stack-resources.html
    kept = [f"LogicalResourceId/{name}" for name, r in template["Resources"].items() if _is_kept(r)]
    allow = 'Effect = "Allow", Action = "Update:*", Principal = "*", Resource = "*"'
    statements = [f"{{ {allow} }}"]
    if kept:
        actions = '["Update:Replace", "Update:Delete"]'
        resources = ", ".join(quote(name) for name in sorted(kept))
        statements.append(f'{{ Effect = "Deny", Action = {actions}, Principal = "*", Resource = [{resources}] }}')
    return f"{{ Statement = [{', '.join(statements)}] }}"


def _is_kept(resource: Mapping[str, Any]) -> bool:
    return str(resource.get("DeletionPolicy", "")).startswith("Retain")


def _capabilities(template: Mapping[str, Any]) -> list[Value]:
    named = any(_NAMES.get(r["Type"], "") in r.get("Properties", {}) for r in template["Resources"].values())
    return ["CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"]


def _inline(tags: Mapping[str, str]) -> str:
    inner = ", ".join(f"{quote(key)} = {quote(tags[key])}" for key in sorted(tags))
    return f"{{ {inner} }}" if inner else "{}"


def _outputs(template: Mapping[str, Any]) -> list[Block]:
    stack = Block(
        kind="output",
        labels=("stack_id",),
        arguments={"description": "Id of the stack.", "value": Expression("aws_cloudformation_stack.this.id")},
    )
    return [stack] + [
        Block(
            kind="output",
            labels=(variable_name(name),),
            arguments={
                "description": str(output.get("Description", f"Output {name} of the stack.")),
                "value": Expression(f"aws_cloudformation_stack.this.outputs[{quote(name)}]"),
            },
        )
        for name, output in sorted(template.get("Outputs", {}).items())
    ]
