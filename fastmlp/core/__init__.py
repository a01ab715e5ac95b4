"""What no user imports: a network's parameters and sessions, and the compiled passes with their layout in memory."""
