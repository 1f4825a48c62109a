r"""A credential service for `credential_provider: {type: grpc}`, which returns keys from a JSON file.

In Longshore's folder, generate the stubs, write the JSON file, and start the service:

    pip install grpcio-tools
    python -m grpc_tools.protoc -I proto --python_out=examples --grpc_python_out=examples \
        proto/longshore/v1/credential_provider_service.proto
    echo '{"acme/default": {"access_key_id": "ID", "secret_access_key": "SECRET"}}' > keys.json
    openssl rand -hex 32 > token
    TOKEN=$(cat token) python examples/credential_provider.py keys.json 127.0.0.1:50060

In the store, set `token_file` to the file `token`. For clients on other hosts, add the files with the certificate chain and its key, in PEM, to the arguments.
"""

import hmac
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from longshore.v1 import credential_provider_service_pb2 as messages
from longshore.v1 import credential_provider_service_pb2_grpc as services


class CredentialProvider(services.CredentialProviderServiceServicer):
    def GetCredentials(self, request, context):
        sent = dict(context.invocation_metadata()).get("authorization", "")
        if not hmac.compare_digest(sent.encode(), f"Bearer {os.environ['TOKEN']}".encode()):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "unknown token")
        name = f"{request.tenant}/{request.store}"
        keys = json.loads(Path(sys.argv[1]).read_text()).get(name)
        if keys is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no credentials for {name}")
        # Longshore asks again before this time. Without it, Longshore asks again only if S3 rejects the keys.
        expires_at = Timestamp(seconds=int(time.time()) + 3600)
        return messages.GetCredentialsResponse(credential=messages.S3Credential(**keys, expires_at=expires_at))


address, files = sys.argv[2], [Path(name).read_bytes() for name in sys.argv[3:5]]
server = grpc.server(ThreadPoolExecutor())
services.add_CredentialProviderServiceServicer_to_server(CredentialProvider(), server)
if files:
    server.add_secure_port(address, grpc.ssl_server_credentials([(files[1], files[0])]))
else:
    server.add_insecure_port(address)
server.start()
server.wait_for_termination()
