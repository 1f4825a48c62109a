"""A server that plays every source of AWS credentials, and S3. Each secret that it returns, and each one that it is sent,
contains a name of its own, so that a test can search for it."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs

import grpc
from longshore.v1 import credential_provider_service_pb2 as messages
from longshore.v1 import credential_provider_service_pb2_grpc as services

from support.http_server import Handler, start

EXPIRY = "2199-01-01T00:00:00Z"


def secret(name):
    """A secret that cannot be part of anything else, and changes when it is percent-encoded."""
    return f"{name}/Secret+That=IsNever/Shown0123"


class Identity:
    """The server. While `broken`, each answer about credentials is an error that repeats what it was sent. While
    `rejecting`, S3 rejects all credentials in the same way."""

    def __init__(self):
        self.secrets, self.sources = set(), set()
        self.broken = self.rejecting = False
        identity = self

        class Requests(Handler):
            def credentials(self, source, sent, answer):
                identity.sources.add(source)
                if identity.broken:
                    error = f"<Error><Code>InvalidIdentityToken</Code><Message>{sent}</Message></Error>"
                    return self.answer(400, f"<ErrorResponse>{error}</ErrorResponse>".encode())
                secrets = [identity.made(f"{source}-key"), identity.made(f"{source}-token")]
                self.answer(200, answer(*secrets).encode())

            def do_PUT(self):
                if self.path == "/latest/api/token":
                    return self.answer(200, identity.made("imds-session").encode())
                self.s3()

            def do_GET(self):
                def document(key, token):
                    return json.dumps({"Code": "Success", "AccessKeyId": "AKID", "SecretAccessKey": key, "Token": token,
                                       "Expiration": EXPIRY})
                if self.path == "/latest/meta-data/iam/security-credentials/":
                    return self.answer(200, b"role")
                if self.path.startswith("/latest/meta-data/"):
                    return self.credentials("imds", self.headers["x-aws-ec2-metadata-token"], document)
                if self.path.startswith("/federation/credentials"):
                    return self.credentials("sso", self.headers["x-amz-sso_bearer_token"], lambda key, token: json.dumps({
                        "roleCredentials": {"accessKeyId": "AKID", "secretAccessKey": key, "sessionToken": token,
                                            "expiration": 7226582400000}}))
                if self.path == "/container":
                    return self.credentials("container", self.headers["Authorization"], document)
                self.s3()

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                action = parse_qs(body)["Action"][0]

                def response(key, token):
                    return (f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>'
                            f"<Credentials><AccessKeyId>AKID</AccessKeyId><SecretAccessKey>{key}</SecretAccessKey>"
                            f"<SessionToken>{token}</SessionToken><Expiration>{EXPIRY}</Expiration></Credentials>"
                            f"</{action}Result></{action}Response>")
                sent = body + str(dict(self.headers)).replace("<", "&lt;")
                self.credentials(action, sent, response)

            def s3(self):
                length = int(self.headers.get("Content-Length") or 0)
                self.rfile.read(length)
                if identity.rejecting:
                    sent = re.sub("[<>&]", "", str(dict(self.headers)))
                    error = f"<Error><Code>InvalidAccessKeyId</Code><Message>{sent}</Message></Error>"
                    return self.answer(403, error.encode())
                self.answer(200, b"", ETag='"e"')

            def do_HEAD(self):
                self.answer(403 if identity.rejecting else 200, ETag='"e"')

        self.server, self.url = start(Requests)
        self.credential_service = grpc.server(ThreadPoolExecutor())
        services.add_CredentialProviderServiceServicer_to_server(_Service(self), self.credential_service)
        self.grpc_url = f"http://127.0.0.1:{self.credential_service.add_insecure_port('127.0.0.1:0')}"
        self.credential_service.start()

    def made(self, name):
        """A secret that a test searches for."""
        made = secret(name)
        self.secrets.add(made)
        return made

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.credential_service.stop(None)


class _Service(services.CredentialProviderServiceServicer):
    def __init__(self, identity):
        self.identity = identity

    def GetCredentials(self, request, context):
        self.identity.sources.add("grpc")
        if self.identity.broken:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, f"refused: {dict(context.invocation_metadata())}")
        return messages.GetCredentialsResponse(credential=messages.S3Credential(
            access_key_id="AKID", secret_access_key=self.identity.made("grpc-key"), token=self.identity.made("grpc-token")))
