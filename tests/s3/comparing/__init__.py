"""Runs the same calls on several S3 servers, records what each answers, and compares it."""
