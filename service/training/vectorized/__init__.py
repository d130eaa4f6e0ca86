"""A heat as one vectorized model: its trials' weights stacked, every step one computation.

`why_not` and `why_never` say whether a workload can be computed so; `Vectorized` is the engine that
does, where it has been proven to make no difference.
"""

from service.training.vectorized.engine import Vectorized
from service.training.vectorized.fitness import why_never, why_not

__all__ = ["Vectorized", "why_never", "why_not"]
