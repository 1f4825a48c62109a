"""BINARY: a page uploads to S3 by script, from another origin."""

import html
import json
import re
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from support.client import object_service_pb2 as objects
from support.server import Demo

from longshore.v1 import bucket_service_pb2 as buckets

# Each upload is tried on its own, so that the result says which of them the browser refused.
PAGE = """<!doctype html><body><script>
const job = %s;
const tried = async upload => {
  try { const answer = await upload(); return [answer.status, answer.headers.get("etag")]; }
  catch (error) { return ["refused", null]; }
};
const put = () => fetch(job.put.url, {method: "PUT", headers: job.put.headers, body: "put by a page"});
const post = () => {
  const form = new FormData();
  for (const [name, value] of job.post.fields) form.append(name, value);
  form.append("file", new Blob(["posted by a page"]), "file.txt");
  return fetch(job.post.url, {method: "POST", body: form});
};
(async () => {
  document.body.textContent = JSON.stringify({put: await tried(put), post: await tried(post)});
})();
</script></body>"""

# Headers that scripts must not set: the browser sets them itself.
FORBIDDEN = {"host", "content-length"}


def serve(page):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def browse(url, folder):
    """The text of the page after its script has ended."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}",
               "--virtual-time-budget=20000", "--dump-dom", url]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120)
    body = re.search(r"<body>(.*?)</body>", shown.stdout, re.DOTALL)
    assert body, f"Chromium showed no page: {shown.stdout} {shown.stderr}"
    return json.loads(html.unescape(body[1]))


def uploads(client, key):
    """What a page needs for both uploads."""
    hour = {"seconds": 3600}
    write = {"attributes": {"content_type": "text/plain"}}
    put = client.objects.Sign(objects.SignRequest(
        method="SIGN_METHOD_PUT", keys=[f"{key}/put"], expires_in=hour, write=write)).urls[0]
    post = client.objects.SignPost(objects.SignPostRequest(
        key=f"{key}/post", expires_in=hour, size={"max": 1000}))
    headers = {name: value for name, value in put.headers.items() if name not in FORBIDDEN}
    return {"put": {"url": put.url, "headers": headers},
            "post": {"url": post.url, "fields": [[field.name, field.value] for field in post.fields]}}


def main(binary):
    with tempfile.TemporaryDirectory(prefix="longshore-browser-") as folder:
        folder = Path(folder)
        demo = Demo(binary, folder)
        try:
            client = demo.client("demo")

            def seen(key):
                return browse(serve(PAGE % json.dumps(uploads(client, key))), folder / "profile")

            client.buckets.DeleteBucketCors(buckets.DeleteBucketCorsRequest())
            without = seen("without")
            client.buckets.PutBucketCors(buckets.PutBucketCorsRequest(rules=[{
                "allowed_origins": ["http://127.0.0.1:*"], "allowed_methods": ["PUT", "POST"],
                "allowed_headers": ["*"], "expose_headers": ["ETag"]}]))
            found = seen("with")
            put, post = client.get("with/put"), client.get("with/post")
            assert (put.data, post.data) == (b"put by a page", b"posted by a page")
            assert put.info.attributes.content_type == "text/plain"
            assert found == {"put": [200, put.info.meta.etag], "post": [204, post.info.meta.etag]}, found
            # A preflight protects the PUT. A form needs none, but the script does not see the answer.
            assert without == {"put": ["refused", None], "post": ["refused", None]}, without
            assert [listed.key for listed in client.list(prefix="without/").objects] == ["without/post"]
        finally:
            demo.stop()
    print("  verdict   passed")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
