"""The workloads among the examples are what the loops that they take the place of are: each is
written again by hand, in plain PyTorch, with the same draws, and ends at the same step."""
