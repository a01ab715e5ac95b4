"""Floor 0: Numba's options, the vector type, the register tile, elementary functions, and the team of threads."""
