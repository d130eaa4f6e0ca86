"""How steps to target depend on the batch size: a curve through the frontier, and what it says.

    curve = fit_curve([Observation(2, 1841), Observation(4, 1149), ...])
    curve.useful_until, curve.half_efficiency, curve.predict([48, 96])

It knows numbers alone: no database, no workload.
"""
