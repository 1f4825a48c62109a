"""nginx and haproxy in front of a gRPC server, HTTP/2 without TLS on both sides."""

import socket
import time

from support import process

NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  # No limit: nginx counts the whole request stream as one body.
  client_max_body_size 0;
  keepalive_requests 1000000;
  upstream gateway {{ server {upstream}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port} http2;
    {limits}
    location / {{ grpc_pass grpc://gateway; }}
  }}
}}
"""

HAPROXY = """
global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client {limit}
  timeout server {limit}
frontend callers
  bind 127.0.0.1:{port} proto h2
  default_backend gateway
backend gateway
  server one {upstream} proto h2
"""

COMMANDS = {"nginx": (NGINX, ["nginx", "-p", "{folder}", "-c", "{config}"]),
            "haproxy": (HAPROXY, ["haproxy", "-f", "{config}"])}


class Proxy:
    def __init__(self, name, upstream, folder, with_own_limits=False):
        """`with_own_limits`: silent calls are cut after nginx's default of 60 s, or after the 50 s in Debian's settings of
        haproxy, which has no default."""
        config, command = COMMANDS[name]
        limits = {"limits": "", "limit": "50s"} if with_own_limits else {
            "limits": "grpc_read_timeout 1h; grpc_send_timeout 1h;", "limit": "1h"}
        [port] = process.free_ports(1)
        place = folder / f"{name}.conf"
        place.write_text(config.format(folder=folder, upstream=upstream, port=port, **limits))
        words = [word.format(folder=folder, config=place) for word in command]
        log = (folder / f"{name}.out").open("wb")
        self.process, self.address = process.start(words, stdout=log, stderr=log), f"127.0.0.1:{port}"
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                assert time.monotonic() < deadline, f"{name} is not listening: {(folder / f'{name}.out').read_text()}"
                time.sleep(0.05)

    def end(self):
        process.stop(self.process)
