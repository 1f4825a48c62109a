"""Shared by the tests: processes, the generated client, and S3 servers whose contents boto3 checks."""
