#!/usr/bin/env bash
# Uploads from a page in headless Chromium to the embedded S3 server, which is another origin: by a presigned PUT and by a
# form of SignPost. The CORS rule that this needs is set through BucketService.
#   tests/browser.sh [BINARY]     BINARY: default target/release/longshore
# Takes a few seconds. Installs Debian's chromium if it is missing, which needs root.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:-$here/../target/release/longshore}")

command -v chromium >/dev/null || {
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium
}
"$here/tools/install.sh" python
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here/python"
exec "$here/.tools/venv/bin/python" "$here/browser/run.py" "$binary"
