// An OpenID Connect issuer with a client for each caller: `issuer.mjs PORT CERT KEY`. Prints "ready" when it listens.
// The line "rotate" on standard input replaces its key; it then prints "rotated".

import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { createInterface } from "node:readline";

import Provider from "../../.tools/oidc-provider/node_modules/oidc-provider/lib/index.js";

// The library's notices must not be among the lines that the tests read.
console.info = console.error;

const [port, cert, key] = process.argv.slice(2);
const issuer = `https://127.0.0.1:${port}`;

// The resources are the audiences of tokens. Tokens for the short one expire after a second.
const lifetimes = { "urn:longshore": 600, "urn:longshore:short": 1, "urn:other": 600 };
// Claims that the issuer adds to the tokens of each client.
const claims = {
  billing: { tenant: "acme", organisation: { unit: "billing" }, groups: ["readers", "billing"] },
  reports: { tenant: ["globex"], organisation: { unit: "reports" }, groups: ["readers"] },
};

function provider(number) {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const kid = `key-${number}`;
  return new Provider(issuer, {
    clients: Object.keys(claims).map((name) => ({
      client_id: name,
      client_secret: `${name}-secret`,
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    })),
    jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), kid, use: "sig", alg: "RS256" }] },
    extraTokenClaims: (context, token) => claims[token.clientId],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (context, resource) => ({
          scope: "",
          audience: resource,
          accessTokenTTL: lifetimes[resource],
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: "RS256" } },
        }),
      },
    },
  }).callback();
}

let number = 1;
let answer = provider(number);
const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (request, response) => answer(request, response));
server.listen(Number(port), "127.0.0.1", () => console.log("ready"));
createInterface({ input: process.stdin }).on("line", () => {
  number += 1;
  answer = provider(number);
  console.log("rotated");
});
