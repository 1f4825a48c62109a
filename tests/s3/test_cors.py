"""CORS rules, for browsers that call from other origins.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html
"""

from comparing.cases import case

SHOWN = """access-control-allow-origin access-control-allow-methods access-control-allow-headers access-control-max-age
    access-control-expose-headers access-control-allow-credentials vary"""
RULE = {
    "AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["https://harbour.example"], "AllowedHeaders": ["x-amz-*"],
    "ExposeHeaders": ["ETag", "x-amz-meta-a"], "MaxAgeSeconds": 60, "ID": "harbour",
}
ANY = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}
INNER = {"AllowedMethods": ["DELETE"], "AllowedOrigins": ["https://*.harbour.example"], "AllowedHeaders": ["*"]}
# moto's server answers every preflight itself, whatever the bucket's rules.
JUDGES = ("versitygw",)


def configured(on, *rules):
    on.put_bucket_cors("configure", CORSConfiguration={"CORSRules": list(rules)}).says(status=200)


def preflight(on, step, origin, method, headers=None, key="k"):
    asked = {"origin": origin, "access-control-request-method": method, "access-control-request-headers": headers}
    return on.http(step, "OPTIONS", key, headers={name: value for name, value in asked.items() if value}, sign=False,
                   shown=SHOWN)


@case()
def test_the_configuration(on):
    on.get_bucket_cors("initially none").refuses(404, "NoSuchCORSConfiguration")
    configured(on, RULE, ANY)
    found = on.get_bucket_cors("get")["CORSRules"]
    on.note("rules", first=found[0], second=found[1], count=len(found)).says(first=RULE, second=ANY, count=2)
    on.put_bucket_cors("replace", CORSConfiguration={"CORSRules": [ANY]}).says(status=200)
    on.get_bucket_cors("replaced").says(CORSRules=[ANY])
    on.delete_bucket_cors("delete").says(status=204)
    on.get_bucket_cors("gone").refuses(404, "NoSuchCORSConfiguration")
    on.delete_bucket_cors("delete again").says(status=204)


@case(JUDGES)
def test_preflight(on):
    configured(on, RULE)
    granted = {"status": 200, "access-control-allow-origin": "https://harbour.example",
               "access-control-allow-methods": "GET, PUT", "access-control-max-age": "60",
               "access-control-expose-headers": "ETag, x-amz-meta-a", "access-control-allow-credentials": "true",
               "vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"}
    for method in ("GET", "PUT"):
        preflight(on, method, "https://harbour.example", method).says(**granted)
    preflight(on, "headers", "https://harbour.example", "PUT", "x-amz-date, X-Amz-Meta-A").says(
        **granted, **{"access-control-allow-headers": "x-amz-date, x-amz-meta-a"})
    preflight(on, "of the bucket", "https://harbour.example", "GET", key="").says(**granted)
    forbidden = (403, "AccessForbidden")
    preflight(on, "another method", "https://harbour.example", "DELETE").refuses(*forbidden)
    preflight(on, "another origin", "https://other.example", "GET").refuses(*forbidden)
    preflight(on, "another scheme", "http://harbour.example", "GET").refuses(*forbidden)
    preflight(on, "another header", "https://harbour.example", "GET", "x-other").refuses(*forbidden)
    preflight(on, "one other header", "https://harbour.example", "GET", "x-amz-date, x-other").refuses(*forbidden)
    preflight(on, "no origin", None, "GET").refuses(400, "BadRequest")
    preflight(on, "no method", "https://harbour.example", None).refuses(400, "BadRequest")


@case(JUDGES)
def test_preflight_without_rules(on):
    preflight(on, "ask", "https://harbour.example", "GET").refuses(403, "AccessForbidden")


@case(JUDGES)
def test_wildcards(on):
    configured(on, INNER, ANY)
    preflight(on, "any origin", "https://other.example", "GET").says(
        status=200, **{"access-control-allow-origin": "*", "access-control-allow-credentials": None})
    preflight(on, "an inner origin", "https://inner.harbour.example", "DELETE", "x-any").says(
        status=200, **{"access-control-allow-origin": "https://inner.harbour.example",
                       "access-control-allow-methods": "DELETE", "access-control-allow-headers": "x-any"})
    preflight(on, "an outer origin", "https://harbour.example", "DELETE").refuses(403, "AccessForbidden")


@case(JUDGES)
def test_the_request_itself(on):
    configured(on, RULE)
    on.put_object("put", Key="k", Body=b"harbour")
    on.http("from the origin", "GET", "k", headers={"origin": "https://harbour.example"}, shown=SHOWN).says(
        status=200, **{"access-control-allow-origin": "https://harbour.example",
                       "access-control-expose-headers": "ETag, x-amz-meta-a",
                       "access-control-allow-credentials": "true"})
    on.http("from another origin", "GET", "k", headers={"origin": "https://other.example"}, shown=SHOWN).says(
        status=200, Body=b"harbour", vary=None, **{"access-control-allow-origin": None})
    on.http("without an origin", "GET", "k", shown=SHOWN).says(
        status=200, vary=None, **{"access-control-allow-origin": None})
    on.http("a failure", "GET", "nothing", headers={"origin": "https://harbour.example"}, shown=SHOWN).says(
        status=404, code="NoSuchKey", **{"access-control-allow-origin": "https://harbour.example"})


@case()
def test_invalid_configurations(on):
    """API_PutBucketCors.html: a rule has at most one `*` in an origin or header. API_CORSRule.html: an id has at most 255
    characters."""
    for step, rule in {
            "another method": {"AllowedMethods": ["PATCH"], "AllowedOrigins": ["*"]},
            "two wildcards in an origin": {"AllowedMethods": ["GET"], "AllowedOrigins": ["https://*.*"]},
            "two wildcards in a header": {**ANY, "AllowedHeaders": ["*-*"]},
            "a wildcard in an exposed header": {**ANY, "ExposeHeaders": ["x-*"]},
            "a long id": {**ANY, "ID": "i" * 256},
    }.items():
        on.put_bucket_cors(step, CORSConfiguration={"CORSRules": [rule]}).refuses(400, "InvalidRequest")
    for step, rules in {"no method": [{**ANY, "AllowedMethods": []}], "no origin": [{**ANY, "AllowedOrigins": []}],
                        "101 rules": [ANY] * 101}.items():
        on.put_bucket_cors(step, CORSConfiguration={"CORSRules": rules}).refuses(400, "MalformedXML")
    on.http("no rules", "PUT", query={"cors": ""}, body=b"<CORSConfiguration></CORSConfiguration>").refuses(
        400, "MalformedXML")
    on.http("not XML", "PUT", query={"cors": ""}, body=b"rules").refuses(400, "MalformedXML")
    on.get_bucket_cors("nothing was stored").refuses(404, "NoSuchCORSConfiguration")
