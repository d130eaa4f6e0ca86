"""One surrogate of a workload's searches at all its batch sizes: what the trials that ran tell of
those that didn't."""
