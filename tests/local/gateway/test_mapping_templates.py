"""VTL as API Gateway evaluates it."""

import json

import pytest
from tests.local.gateway.test_exchange import made

from mlops_local.gateway.mapping_templates import TemplateError, overrides, render

BODY = b'{"rows": [{"x": 1}, {"x": 2}], "ok": true, "none": null, "text": "it\'s"}'
PASS_ALL = """#set($all = $input.params())
{#foreach($type in $all.keySet())"$type": {#foreach($name in $all.get($type).keySet())"$name": "$util.escapeJavaScript($all.get($type).get($name))"#if($foreach.hasNext),#end#end}#if($foreach.hasNext),#end#end}"""  # noqa: E501 - AWS's own template


def rendered(template: str, body: bytes = BODY) -> str:
    """Evaluate a template of a request with an id in its path."""
    exchange = made(body, headers={"x-one": '"1"'}, query={"q": ["a"], "id": ["query"]}, path_parameters={"id": "0-f"})
    return render(template, exchange, body, {"responseOverride": overrides()})


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("$input.body", BODY.decode()),
        ("$input.json('$.rows[0]')", '{"x":1}'),
        ("$input.json('$.absent')", ""),
        ("$input.path('$.ok') $input.path('$.rows[1].x')", "true 2"),
        ("$input.params('id') $input.params('q') $input.params('X-One') [$input.params('no')]", '0-f a "1" []'),
        ("#set($n = $input.path('$.rows').size())#if($n == 2)two#elseif($n == 1)one#{else}many#end", "two"),
        ("#foreach($row in $input.path('$.rows'))$row.x#if($foreach.hasNext),#end#end", "1,2"),
        ("$context.httpMethod ($context.nothing) ($context.identity.nothing)", "POST () ()"),
        ("$stageVariables.colour", "red"),
        ('{"$schema": "http://json-schema.org/draft-04/schema#"}', '{"$schema": "http://json-schema.org/draft-04/schema#"}'),
        ("$unset $!unset", "$unset "),
        ("$util.escapeJavaScript($input.path('$.text')) $util.urlEncode('a b&c') $util.urlDecode('a+b')", "it\\'s a+b%26c a b"),
        ("$util.base64Decode($util.base64Encode('é')) $util.parseJson('[1]').get(0)", "é 1"),
        ("## gone\nkept", "kept"),
        ("#if($input.params('id').matches('^[0-9a-f-]+$'))id#end", "id"),
        ("#if($input.params('id').matches('[0-9]'))id#{else}other#end", "other"),
    ],
)  # fmt: skip
def test_a_template_is_evaluated(template: str, text: str) -> None:
    """With AWS's objects and Java's string methods."""
    assert rendered(template) == text


def test_the_template_of_aws_for_all_parameters_works() -> None:
    """The template offered by the console."""
    assert json.loads(rendered(PASS_ALL).encode().replace(b"\\'", b"'")) == {
        "path": {"id": "0-f"},
        "querystring": {"q": "a", "id": "query"},
        "header": {"x-one": '"1"'},
    }


@pytest.mark.parametrize(
    ("given", "reference"),
    [
        ('#set($s = "{0.__init__.__globals__}")', "$s.format($input)"),
        ("#set($x = $input.path)", "$x.__self__"),
        ("", "$util.__class__.__mro__"),
        ("", "$input._exchange.account"),
        ("", "$input.params().__class__.__base__"),
    ],
)
def test_a_template_reaches_nothing_of_the_process(given: str, reference: str) -> None:
    """A reference that AWS's objects do not have is rendered literally."""
    assert rendered(given + reference) == reference


def test_a_template_overrides_status_and_headers() -> None:
    """With hyphens in header names."""
    override, exchange = overrides(), made()
    text = '#set($context.responseOverride.status = 409)#set($context.responseOverride.header.Retry-After = "5")done'
    assert render(text, exchange, b"", {"responseOverride": override}) == "done"
    assert (override["status"], override["header"]) == (409, {"Retry-After": "5"})


def test_a_value_is_overridden_once() -> None:
    """The second time the call fails."""
    twice = "#set($context.responseOverride.status = 400)" * 2
    with pytest.raises(TemplateError, match="twice"):
        rendered(twice)


@pytest.mark.parametrize(
    "template", ["#if($x)", "$input.path('$..x')", "#foreach($x in 3)#end", "$util.parseJson('{')"]
)
def test_what_cannot_be_evaluated_is_an_error(template: str) -> None:
    """Always the same: the gateway returns 500."""
    with pytest.raises(TemplateError):
        rendered(template)
