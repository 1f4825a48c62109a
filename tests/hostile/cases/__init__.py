"""The cases, each a module with `run(gateway)`, which yields findings."""
