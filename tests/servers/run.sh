#!/usr/bin/env bash
# Runs a real S3 server for tests, in the foreground, until this script is killed.
#   tests/servers/run.sh SERVER PORT      SERVER: moto, versitygw or garage; PORT: 0 for any free port
# First install the tools: tests/tools/install.sh python SERVER (python includes moto, and boto3 to create the bucket).
#
# Once the server responds and the bucket exists, prints one line to standard output:
#   ready endpoint=http://127.0.0.1:PORT bucket=BUCKET versioned_bucket=BUCKET region=REGION access_key_id=ID
#     secret_access_key=SECRET      (in one line; versioned_bucket is empty if the server has no versions)
# The server's own output goes to standard error. Stop the script with TERM or INT: this also ends the server and deletes
# its data. The environment variable BUCKET sets the name of the bucket.
#
# What each server supports, found by testing with boto3 and one worker per server. "yes": as S3 does.
#                                 moto 5.2.5             versitygw 1.8.0 (folder)   Garage 2.5.0 (sqlite)
# checks signatures               no, accepts any        yes                        yes (AccessDenied)
# checks checksums, Content-MD5   no                     yes                        yes (InvalidDigest)
# PUT If-None-Match, If-Match     yes                    yes                        no: ignored, the write goes through
# 16 concurrent creates of a key  one won, 20 times      one won, 20 times          all won
# complete with If-None-Match     yes                    yes                        no
# complete with If-Match          no: ignored            yes                        no
# copy if the source matches      no: ignored            yes                        yes
# copy If-None-Match, If-Match    no                     no                         no
# DELETE If-Match                 yes                    yes                        no
# GET conditions                  yes                    yes                        yes
# If-Modified-Since in the future 304                    200                        304
# parts under 5 MiB               EntityTooSmall         EntityTooSmall             accepted
# a failed complete               can be retried         can be retried             ends the upload (NoSuchUpload)
# empty part                      yes                    yes                        400
# abort twice                     NoSuchUpload           NoSuchUpload               NoSuchUpload
# multipart ETag, gaps in numbers, unequal parts, UploadPartCopy with a range, ListParts, ListMultipartUploads, ListObjectsV2
#   in byte order with start-after and delimiter, DeleteObjects, presigned URLs, bucket CORS: yes in all three
# a copy onto itself, unchanged   InvalidRequest         InvalidRequest             accepted
# object tags                     yes                    yes                        501; the tagging header is ignored
# versions                        yes                    yes                        501
# RestoreObject                   yes                    501                        501
# malformed Range header          500                    200, whole object (S3's)   416
# metadata over 2 KiB             accepted               MetadataTooLarge           accepted
#
# Which keys each server can store, and lists unchanged:
# space or tab at either end, newline*, CR, DEL, emoji, %2F, bare %, + ? & # \ < > ' ", NFC beside NFD: all three
#                                 (*moto: 404 for a newline)
# . .. ../x                       yes                    400                        yes
# a/../b ./x a//b                 yes                    becomes b, x, a/b          yes
# /x                              yes                    becomes x                  becomes x
# //                              yes                    400                        means the bucket: DELETE deletes it!
# a beside a/b                    yes                    409                        yes
# a/ (with content)               yes                    400                        yes
# U+0001, U+FFFE                  yes                    listed as U+FFFD           yes
# NUL                             yes                    500                        yes
# over 255 bytes in one segment   yes                    400, also below 1,024      yes
#
# tests/s3/differences_of_moto.py and differences_of_versitygw.py list in detail where these servers differ from S3.
#
# Therefore versitygw is the reference for conditions, checksums and signatures, Garage for signatures of odd keys (never
# for conditions), and moto for the rest of AWS (tags with odd keys, STS, DynamoDB). No server is a reference for copy
# conditions.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
tools=$(dirname "$here")/.tools
python=$tools/venv/bin/python
server=${1:?SERVER is missing: moto, versitygw or garage}
port=${2:?PORT is missing: a number, or 0 for any free port}
bucket=${BUCKET:-longshore-test}

# Garage accepts only access key ids of this form ("GK" and hexadecimal digits), so all servers use it.
access_key=GK31c2f218a2e44f485b94239e
secret_key=b892c0665f0ada8a4755dae98baa3b133590e11dae3bcc1f9d769d67f16c3835
region=us-east-1

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

[ "$port" != 0 ] || port=$(free_port)
data=$(mktemp -d)
pid=
stop() {
  trap - EXIT TERM INT
  [ -z "$pid" ] || { kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; } || true
  rm -rf "$data"
}
trap stop EXIT
trap 'exit 0' TERM INT

# setpriv: if this script is killed, the kernel kills the server too.
start() {
  setpriv --pdeathsig KILL -- "$@" >&2 &
  pid=$!
}

case $server in moto | versitygw | garage) ;; *) echo "no such server: $server" >&2; exit 64 ;; esac
# shellcheck source=/dev/null
source "$here/$server.sh"

endpoint=http://127.0.0.1:$port
versioned=$("$python" "$here/bucket.py" "$endpoint" "$region" "$access_key" "$secret_key" "$bucket" "$pid")
echo "ready endpoint=$endpoint bucket=$bucket versioned_bucket=$versioned region=$region" \
  "access_key_id=$access_key secret_access_key=$secret_key"
wait "$pid"
