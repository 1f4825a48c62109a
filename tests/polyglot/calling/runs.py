"""What the client of each language saw, and what the servers logged."""

import json
from dataclasses import dataclass

import grpc
from longshore.v1 import upload_service_pb2

from support.counting_proxy import CountingProxy

from . import clients
from .cases import CASES, request_id, told

CODES = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass(frozen=True)
class Place:
    """The address of a server, that of the proxy in front of it for compressed messages, and the metadata that a client
    needs."""

    address: str
    compressed: str
    metadata: dict


class Runs:
    """Runs each client once with all cases, when its results are first needed. `servers` maps names to servers with their
    metadata."""

    def __init__(self, servers, data, mktemp):
        self._servers, self._data, self._mktemp = servers, data, mktemp
        self._lines, self._ends, self._sent = {}, {}, {}

    def __call__(self, language):
        """Returns what the client reported for each case."""
        if language not in self._lines:
            proxies = {name: CountingProxy(f"http://{server.address}") for name, (server, _) in self._servers.items()}
            places = {name: Place(server.address, proxies[name].endpoint.removeprefix("http://"), metadata)
                      for name, (server, metadata) in self._servers.items()}
            cases = [told(case, language, places) for case in CASES.values()]
            self._lines[language], self._ends[language] = clients.run(
                language, cases, self._data, self._mktemp(language))
            self._sent[language] = sum(proxy.sent for proxy in proxies.values())
            for proxy in proxies.values():
                proxy.close()
        return self._lines[language]

    def seen(self, language, name):
        """Returns what a client saw in a case. Fails if the client could not make the call or found an error itself."""
        lines = self(language)
        assert name in lines, f"the client did not report this case; it {self._ends[language]}"
        verdict, rest = lines[name]
        assert verdict == "ok", rest
        saw = json.loads(rest)
        return saw | {"code": CODES[saw["code"]]}

    def sent_compressed(self, language):
        """Returns the number of bytes that a client sent in the cases with compressed messages."""
        self(language)
        return self._sent[language]

    def logged(self, language, name):
        """Returns the line about a case in the server's log, or None if there is none yet."""
        case = CASES[name]
        server, _ = self._servers[case.server]
        ours = f'"request_id":"{request_id(language, name)}"'
        lines = [json.loads(line) for line in server.log.read_text().splitlines() if ours in line]
        return next((line for line in lines if line["method"].endswith(f"/{case.call}")), None)
