"""Workers and their database treated as badly as can be, and the result compared with that of one
undisturbed worker. `python -m tests.chaos --seeds 20` prints the tally."""
