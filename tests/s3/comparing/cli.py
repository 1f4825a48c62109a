"""Runs the AWS CLI as a user does: as a process with its own files."""

import re
import subprocess
from pathlib import Path

from support import process
from support.paths import TOOLS

AWS = TOOLS / "bin" / "aws"
# Dates, which differ from run to run.
DATES = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


class Cli:
    """`cli("step", "s3 cp", "file", "s3://...")` runs the command in `folder` and records how it ended."""

    def __init__(self, on, folder: Path):
        self.on = on
        self.folder = folder
        server = on.server
        # Otherwise, version 1 of the CLI presigns with signature version 2.
        (folder / "config").write_text("[default]\ns3 =\n  signature_version = s3v4\n")
        self._environment = process.bare_environment(
            AWS_ACCESS_KEY_ID=server.access_key_id, AWS_SECRET_ACCESS_KEY=server.secret_access_key,
            AWS_DEFAULT_REGION=server.region, AWS_ENDPOINT_URL=server.endpoint, AWS_EC2_METADATA_DISABLED="true",
            AWS_CONFIG_FILE=str(folder / "config"), AWS_MAX_ATTEMPTS="1", AWS_PAGER="", TZ="UTC",
            HOME=str(folder))

    def __call__(self, step, command, *arguments):
        """Returns the recorded step. `printed` has the lines of standard output, without what differs from run to run."""
        ran = subprocess.run([AWS, *command.split(), *map(str, arguments)], cwd=self.folder, env=self._environment,
                             capture_output=True, text=True, timeout=120)
        outcome = {"status": ran.returncode, "printed": self._plain(ran.stdout)}
        if ran.returncode:
            found = re.search(r"\((\w+)\) when calling the (\w+)", ran.stderr)
            outcome["code"] = " ".join(found.groups()) if found else self._plain(ran.stderr)[:1]
        return self.on.record(step, outcome, {"printed": ran.stdout})

    def url(self, key=""):
        return f"s3://{self.on.bucket}/{key}"

    def _plain(self, text):
        text = text.replace(self.on.bucket, "(the bucket)").replace(self.on.server.endpoint, "(the endpoint)")
        lines = [DATES.sub("(a date)", line).rstrip() for line in text.splitlines()]
        # Sorted, because concurrent transfers are printed in the order in which they end.
        return sorted(line for line in lines if line)
