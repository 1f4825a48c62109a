"""What the tests stand on: processes, the generated client, and S3 servers with boto3 as witness."""
