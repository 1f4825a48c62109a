"""Makes the calls of a case, and records the outcome of each."""

import threading
from collections import Counter
from dataclasses import replace

from botocore.exceptions import BotoCoreError, ClientError
from support import s3

from . import http, outcome

# Settings for clients that add no checksums by themselves: a request is exactly what the case says.
PLAIN = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}

# An empty element means the same as a missing one, so an outcome has no empty fields.
EMPTY = (None, "", [], {})


class Failed(Exception):
    """A case needs a field that a response does not have."""


class Answer:
    """A server's response to a step."""

    def __init__(self, step, recorded, answer):
        self.step = step
        self.recorded = recorded
        self.stated = {}
        self._answer = answer

    def __getitem__(self, name):
        if self._answer is None or name not in self._answer:
            raise Failed(f"no {name} in the response to {self.step!r}: {self.recorded}")
        return self._answer[name]

    def get(self, name, otherwise=None):
        return otherwise if self._answer is None else self._answer.get(name, otherwise)

    def says(self, **fields):
        """States S3's documented response. It takes precedence over those of the reference servers."""
        self.stated.update({name: None if value in EMPTY else value for name, value in fields.items()})
        return self

    def refuses(self, status, code):
        """States the error that S3 documents."""
        return self.says(status=status, code=code)


class Calls:
    """`on.get_object("step", Key="k")` makes the call in the case's bucket, and records it under the name of the step."""

    def __init__(self, server, bucket, also, steps=None, client=None):
        self.server = server
        self.bucket = bucket
        self.also = also
        self.steps = {} if steps is None else steps
        self.client = client or self._client()

    def _client(self, key_id=None, secret=None, apart=None, **config):
        """Returns the client with these settings, which the server caches and closes. `apart` tells apart clients with
        equal settings."""
        at = self.server
        way = (key_id, secret, at.region, apart, repr(config))
        if way not in at.clients:
            at.clients[way] = s3.client(
                at.endpoint, key_id or at.access_key_id, secret or at.secret_access_key, at.region,
                **{**PLAIN, **config})
        return at.clients[way]

    def another_client(self, number):
        """Returns another client, for concurrent calls: those of one client would share ten connections."""
        return self._client(apart=number)

    def with_client(self, **config):
        """Returns a view of this case with another client: `key_id` and `secret`, or settings of botocore.Config."""
        return Calls(self.server, self.bucket, self.also, self.steps, self._client(**config))

    def in_bucket(self, bucket):
        return Calls(self.server, bucket, self.also, self.steps, self.client)

    def new_bucket(self, suffix):
        """Creates another bucket for this case."""
        name = f"{self.bucket[:50]}-{suffix}"
        self.client.create_bucket(Bucket=name)
        return self.in_bucket(name)

    def __getattr__(self, operation):
        method = getattr(self.client, operation)

        def call(step, **arguments):
            if "Bucket" in self._members(operation):
                arguments.setdefault("Bucket", self.bucket)
            return self.record(step, *self._outcome(operation, method, arguments))

        return call

    def _members(self, operation):
        shape = self.client.meta.service_model.operation_model(self.client.meta.method_to_api_mapping[operation])
        return shape.input_shape.members if shape.input_shape else {}

    def _outcome(self, operation, method, arguments):
        try:
            answer = method(**arguments)
            if "Body" in answer:
                answer["Body"] = answer["Body"].read()
        except ClientError as error:
            return outcome.of_error(error, self.also), None
        except BotoCoreError as error:
            return {"status": "none", "code": type(error).__name__}, None
        return outcome.of_answer(operation, answer, self.also, self.bucket), answer

    def record(self, step, recorded, answer=None):
        assert step not in self.steps, f"two steps are named {step!r}"
        recorded = {name: value for name, value in recorded.items() if value not in EMPTY}
        self.steps[step] = Answer(step, recorded, answer)
        return self.steps[step]

    def race(self, step, operation, arguments):
        """Makes one call for each of `arguments`, all at the same time. Records how many had which outcome."""
        came_to, start = [], threading.Barrier(len(arguments))

        def run(client, each):
            start.wait()
            came_to.append(self._outcome(operation, getattr(client, operation), {"Bucket": self.bucket, **each})[0])

        clients = [self.another_client(number) for number in range(len(arguments))]
        threads = [threading.Thread(target=run, args=pair) for pair in zip(clients, arguments)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        counted = Counter(" ".join(str(each[name]) for name in ("status", "code") if name in each) for each in came_to)
        return self.record(step, dict(sorted(counted.items())))

    def http(self, step, method, key="", shown="", **request):
        """Sends a plain HTTP request (see comparing.http.send). `shown` names the headers to compare."""
        answer = http.send(self.server, method, self.bucket, key, **request)
        return self._http(step, answer, shown)

    def fetch(self, step, method, url, shown="", **request):
        """Sends a plain HTTP request to a complete URL, such as a presigned one."""
        return self._http(step, http.fetch(method, url, **request), shown)

    def _http(self, step, answer, shown):
        recorded = {"status": answer.status}
        if code := answer.error_code():
            recorded["code"] = code
        elif answer.body:
            recorded["Body"] = outcome.shown_body(answer.body)
        for name in shown.split():
            if name in answer.headers:
                recorded[name] = answer.headers[name].replace(self.bucket, "(the bucket)")
        if answer.headers.get("content-type") == "application/xml":
            # Of an XML response, only the status and the error's code are compared.
            recorded.pop("Body", None)
        return self.record(step, recorded, {"Body": answer.body, **answer.headers})

    def note(self, step, **recorded):
        """Records values that a case has derived from responses."""
        return self.record(step, recorded)

    def with_server(self, **changes):
        """Returns a view of this case with changed properties of the server, such as its region or its keys."""
        return Calls(replace(self.server, **changes), self.bucket, self.also, self.steps)
