"""The cases. Each is a module whose `run` yields findings."""
