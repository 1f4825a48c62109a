"""BINARY SECONDS: 100 callers use a store for SECONDS, whose credentials live 30 s and whose provider fails one time in
four: with an error, with garbage, or by not answering. S3 rejects credentials that have expired.

Fails if a call fails, or if credentials are requested much more often than they expire.
"""

import json
import random
import re
import sys
import tempfile
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

import grpc

from support import server
from support.client import Client
from support.http_server import Handler, start

CALLERS = 100
LIFETIME = 30


class Provider:
    """A container's credentials endpoint. The access key id says when the credentials expire."""

    def __init__(self):
        self.requests = self.failures = 0
        random.seed(7)
        provider = self

        class Requests(Handler):
            def do_GET(self):
                provider.requests += 1
                if random.random() < 0.25:
                    provider.failures += 1
                    way = random.choice(["error", "garbage", "silence"])
                    if way == "silence":
                        time.sleep(7)
                    return self.answer(404 if way == "error" else 200, b"garbage")
                expires = time.time() + LIFETIME
                text = datetime.fromtimestamp(expires, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
                self.answer(200, json.dumps({
                    "AccessKeyId": f"UNTIL{int(expires)}", "SecretAccessKey": "s", "Token": "t",
                    "Expiration": text}).encode())

        self.server, self.url = start(Requests)


class S3:
    """Answers HEAD requests, and rejects credentials that have expired."""

    def __init__(self):
        self.rejected = 0
        s3 = self

        class Requests(Handler):
            def do_HEAD(self):
                until = int(re.search(r"Credential=UNTIL(\d+)/", self.headers["Authorization"]).group(1))
                if time.time() >= until + 1:
                    s3.rejected += 1
                    return self.answer(400)
                self.answer(200, ETag='"e"')

        self.server, self.url = start(Requests)


def main(binary, seconds):
    provider, s3 = Provider(), S3()
    store = {"url": "s3://bucket", "config": {"endpoint": s3.url}, "client_options": {"allow_http": True},
             "credential_provider": {"type": "container", "endpoint": provider.url}}
    with tempfile.TemporaryDirectory() as folder:
        tenants = Path(folder, "tenants.yaml")
        tenants.write_text(json.dumps({"tenants": {"acme": {"stores": {"default": store}}}}))
        longshore = server.serve(binary, Path(folder), tenants)
        until, calls, failed = time.monotonic() + seconds, [0] * CALLERS, []

        def call(number):
            client = Client(longshore.address, "acme")
            while time.monotonic() < until and not failed:
                try:
                    client.head("key")
                    calls[number] += 1
                except grpc.RpcError as error:
                    failed.append(error)
                time.sleep(random.uniform(0.05, 0.2))
            client.close()

        # The first credentials: there are no old ones to use while the provider fails.
        first = Client(longshore.address, "acme")
        while True:
            try:
                first.head("key")
                break
            except grpc.RpcError:
                time.sleep(1)
        first.close()
        threads = [threading.Thread(target=call, args=[number]) for number in range(CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        longshore.stop()
        print(f"{sum(calls)} calls, {len(failed)} failed, {s3.rejected} rejected by S3; {provider.requests} requests for "
              f"credentials, {provider.failures} failed")
        if failed:
            print(failed[0], Path(folder, "stderr").read_text()[-3000:])
        # New credentials are requested when a quarter of their lifetime is left, and failed requests are repeated.
        most = 2 + 2 * seconds / (LIFETIME * 3 / 4)
        # In a short run, the provider may not have failed at all.
        tested = provider.failures > 0 or seconds < 300
        if failed or s3.rejected or provider.requests > most or not tested:
            sys.exit(f"not as it should be (at most {most:.0f} requests for credentials)")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
