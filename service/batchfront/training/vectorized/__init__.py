"""A heat as one vectorized model: its trials' weights stacked, every step one computation.

`why_not` and `why_never` say whether a workload can be computed so; `Vectorized` is the engine that
does, where it has been proven to make no difference.
"""

from batchfront.training.vectorized.eligibility import why_never, why_not
from batchfront.training.vectorized.engine import Vectorized

__all__ = ["Vectorized", "why_never", "why_not"]
