"""How often a worker's training stops for something else."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """Seconds, and shares of the worker's time.

    kept_whole       -- a heat is kept whole at least this long between two hand-outs
    set_up_share     -- of the time, at most, goes into setting trials up for a stretch
    first_checkpoint -- after so long the trials of a heat are kept for the first time
    checkpoints      -- and then so long after each other, at least
    copying_share    -- of the time, at most, goes into copies, which the training waits for
    writing_share    -- and into writing them meanwhile
    """

    kept_whole: float = 2.0
    set_up_share: float = 0.05
    first_checkpoint: float = 10.0
    checkpoints: float = 60.0
    copying_share: float = 0.02
    writing_share: float = 0.1
