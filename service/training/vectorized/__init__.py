"""A heat as one vectorized model: its trials' weights stacked, every step one computation.

`why_not` says whether a workload can be computed so; `Vectorized` is the engine that does.
"""

from service.training.vectorized.engine import Vectorized
from service.training.vectorized.fitness import why_not

__all__ = ["Vectorized", "why_not"]
