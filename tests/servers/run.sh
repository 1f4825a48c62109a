#!/usr/bin/env bash
# Runs a real S3 server for tests, in the foreground, until this script is killed.
#   tests/servers/run.sh SERVER PORT      SERVER: moto, versitygw, garage; PORT 0: any free one
# Tools first: tests/tools/install.sh python SERVER (python brings moto, and boto3 for making the bucket).
#
# When the server answers and the bucket is there, one line goes to standard output:
#   ready endpoint=http://127.0.0.1:PORT bucket=BUCKET region=REGION access_key_id=ID secret_access_key=SECRET
# The server's own output goes to standard error. Stop it with TERM or INT: server and data go with it.
# BUCKET in the environment names another bucket.
#
# What each can judge, found with boto3 and one worker a server. "yes": as S3 does.
#                                 moto 5.2.5             versitygw 1.8.0 (folder)   Garage 2.5.0 (sqlite)
# checks signatures               no, takes any          yes                        yes (AccessDenied)
# checks checksums, Content-MD5   no                     yes                        yes (InvalidDigest)
# PUT If-None-Match, If-Match     yes                    yes                        no: ignored, the write goes through
# 16 creators of one key          one won, 20 times      one won, 20 times          all won
# complete with If-None-Match     yes                    yes                        no
# complete with If-Match          no: ignored            yes                        no
# copy if the source matches      no: ignored            yes                        yes
# copy If-None-Match, If-Match    no                     no                         no
# DELETE If-Match                 yes                    yes                        no
# GET conditions                  yes                    yes                        yes
# If-Modified-Since to come       304                    200                        304
# parts under 5 MiB               EntityTooSmall         EntityTooSmall             taken
# a failed complete               may be repeated        may be repeated            ends the upload (NoSuchUpload)
# empty part                      yes                    yes                        400
# abort twice                     NoSuchUpload           NoSuchUpload               NoSuchUpload
# multipart ETag, gaps in numbers, unequal parts, UploadPartCopy with a range, ListParts, ListMultipartUploads, ListObjectsV2
#   in byte order with start-after and delimiter, DeleteObjects, presigned URLs, bucket CORS: yes in all three
# a copy onto itself, unchanged   InvalidRequest         InvalidRequest             taken
# object tags                     yes                    yes                        501; the tagging header is ignored
# malformed Range header          500                    200, whole object (S3's)   416
# metadata over 2 KiB             taken                  MetadataTooLarge           taken
#
# Which keys it can hold and lists as they were written:
# space or tab at an end, newline*, CR, DEL, emoji, %2F, bare %, + ? & # \ < > ' ", NFC beside NFD: all three
#                                 (*moto: a newline is a 404)
# . .. ../x                       yes                    400                        yes
# a/../b ./x a//b                 yes                    becomes b, x, a/b          yes
# /x                              yes                    becomes x                  becomes x
# //                              yes                    400                        taken for the bucket: DELETE deletes it!
# a beside a/b                    yes                    409                        yes
# a/ (with content)               yes                    400                        yes
# U+0001, U+FFFE                  yes                    listed as U+FFFD           yes
# NUL                             yes                    500                        yes
# over 255 bytes in one segment   yes                    400, also below 1,024      yes
#
# Answer by answer, where moto and versitygw differ from S3: tests/s3/differences_of_moto.py, differences_of_versitygw.py.
#
# So: versitygw judges conditions, checksums and signatures; Garage signatures of odd keys (conditions never); moto the
# rest of AWS (tags with odd keys, STS, DynamoDB). None judges copy conditions.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
tools=$(dirname "$here")/.tools
python=$tools/venv/bin/python
server=${1:?which server: moto, versitygw, garage}
port=${2:?which port: a number, or 0 for any free one}
bucket=${BUCKET:-longshore-test}

# Garage takes only key ids of this form ("GK" and hexadecimal), so every server gets it.
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

# setpriv: should this script be killed outright, the kernel ends the server too.
start() {
  setpriv --pdeathsig KILL -- "$@" >&2 &
  pid=$!
}

case $server in moto | versitygw | garage) ;; *) echo "no such server: $server" >&2; exit 64 ;; esac
# shellcheck source=/dev/null
source "$here/$server.sh"

endpoint=http://127.0.0.1:$port
"$python" "$here/bucket.py" "$endpoint" "$region" "$access_key" "$secret_key" "$bucket" "$pid"
echo "ready endpoint=$endpoint bucket=$bucket region=$region access_key_id=$access_key secret_access_key=$secret_key"
wait "$pid"
