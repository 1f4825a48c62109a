"""The calls that the four clients make, the servers that they call, and the expected results."""
