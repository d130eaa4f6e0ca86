"""How steps to target depend on the batch size: a curve through the frontier, and what it says.

    curve = fit_curve([Observation(2, 1841), Observation(4, 1149), ...])
    curve.useful_until, curve.half_efficiency, curve.predict([48, 96])

It knows numbers alone: no database, no workload.
"""

EXTRA = 0.2
"""Examples beyond those of the smallest batch size that still count as near-perfect scaling."""

SHARE = 0.1
"""Of the steps, which doubling a useful batch size saves at least."""
