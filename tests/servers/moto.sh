# shellcheck shell=bash disable=SC2154
# moto: AWS in memory, from PyPI. Sourced by run.sh.
start "$tools/venv/bin/moto_server" -H 127.0.0.1 -p "$port"
