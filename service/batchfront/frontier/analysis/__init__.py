"""What a workload's frontier, trials and measurements say: one module an analysis.

Each is a function of what `batchfront.frontier.frontier` and `batchfront.frontier.queries` load,
and gives frozen dataclasses: nothing here reads the database by itself, prints or draws. Where a
workload has not what an analysis needs, the result is empty and its `reason` says why.
"""
