"""Does a workload hold together, and do its results depend on nothing that they must not?

Asked of its code on a few examples of its data, by whoever plans it before any slot is made, and
by each worker before its first trial.
"""
