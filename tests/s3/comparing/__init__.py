"""Makes the same calls on several S3 servers, records the responses, and compares them."""
