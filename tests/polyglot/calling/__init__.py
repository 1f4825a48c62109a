"""What the four clients are told to call, on what, and what must come of it."""
