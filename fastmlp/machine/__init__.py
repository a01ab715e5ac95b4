"""The lowest layer: Numba's options, the vector type, the register tile, elementary functions, threads."""
