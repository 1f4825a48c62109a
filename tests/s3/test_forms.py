"""Uploads from HTML forms: POST Object with a policy.

https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
"""

from comparing.cases import case

BODY = b"harbour"
# moto does not check policies.
JUDGES = ("versitygw",)


def made(on, key="k", fields=None, conditions=(), expires=60):
    """Returns the URL and the fields of a form, from boto3."""
    fields = fields or {}
    view = on.with_client(signature_version="s3v4")
    conditions = [*({name: value} for name, value in fields.items()), *conditions]
    form = view.client.generate_presigned_post(
        on.bucket, key, Fields=dict(fields), Conditions=conditions, ExpiresIn=expires)
    return form["url"], form["fields"]


def upload(on, step, form, data=BODY, filename="f.txt", more=(), shown="", **changed):
    """Sends a form with changed fields (None removes one). `more` are fields after the file."""
    url, fields = form
    fields = {name: value for name, value in {**fields, **changed}.items() if value is not None}

    def part(name, value):
        return f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()

    file = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'.encode()
    parts = [*(part(*each) for each in fields.items()), file + data + b"\r\n", *(part(*each) for each in more)]
    headers = {"content-type": "multipart/form-data; boundary=x"}
    return on.fetch(step, "POST", url, headers=headers, body=b"".join([*parts, b"--x--\r\n"]), shown=shown)


@case()
def test_upload(on):
    upload(on, "post", made(on)).says(status=204)
    on.get_object("get", Key="k").says(status=200, Body=BODY)
    upload(on, "the name of the file", made(on, "in/${filename}")).says(status=204)
    on.get_object("get by that name", Key="in/f.txt").says(status=200, Body=BODY)
    fields = {"Content-Type": "text/csv", "x-amz-meta-quay": "7"}
    upload(on, "with attributes", made(on, "a", fields)).says(status=204)
    on.head_object("its attributes", Key="a").says(ContentType="text/csv", Metadata={"quay": "7"})


@case()
def test_what_s3_answers(on):
    for status in ("200", "201", "204"):
        upload(on, f"status {status}", made(on, "k", {"success_action_status": status})).says(status=int(status))


@case(JUDGES)
def test_sizes(on):
    form = made(on, conditions=[["content-length-range", 2, 4]])
    upload(on, "the smallest", form, b"12").says(status=204)
    upload(on, "the largest", form, b"1234").says(status=204)
    upload(on, "too small", form, b"1").refuses(400, "EntityTooSmall")
    upload(on, "too large", form, b"12345").refuses(400, "EntityTooLarge")
    on.get_object("what is there", Key="k").says(Body=b"1234")


@case(JUDGES)
def test_conditions(on):
    form = made(on, "in/${filename}")
    upload(on, "another key with the prefix", form, key="in/x").says(status=204)
    upload(on, "a key without the prefix", form, key="out/x").refuses(403, "AccessDenied")
    upload(on, "a field without a condition", form, **{"x-amz-meta-a": "b"}).refuses(403, "AccessDenied")
    upload(on, "an ignored field", form, **{"x-ignore-me": "b"}).says(status=204)
    upload(on, "a field after the file", form, more=[("x-amz-meta-a", "b")]).says(status=204)
    typed = made(on, "k", conditions=[["starts-with", "$Content-Type", "image/"]])
    upload(on, "the type that is accepted", typed, **{"Content-Type": "image/png"}).says(status=204)
    upload(on, "another type", typed, **{"Content-Type": "text/html"}).refuses(403, "AccessDenied")


@case(JUDGES)
def test_signatures(on):
    form = made(on)
    upload(on, "another signature", form, **{"x-amz-signature": "0" * 64}).refuses(403, "SignatureDoesNotMatch")
    other = made(on, "other")[1]["policy"]
    upload(on, "another policy", form, policy=other).refuses(403, "SignatureDoesNotMatch")
    upload(on, "an expired form", made(on, expires=-1)).refuses(403, "AccessDenied")
    upload(on, "the right form", form).says(status=204)
