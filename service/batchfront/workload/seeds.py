"""Seeds derived from seeds: every random stream of a trial is a pure function of where it is used.

The stream that a step's dropout draws from depends on (study seed, trial, step) alone, the order
of an epoch on (study seed, trial, epoch). So a trial needs no generator state to go on exactly
where it stopped, and what ran beside it can't disturb it.

The streams are public, and stay as they are: with a trial's seed, which its recipe says
(`batchfront model`), the same training can be written by hand (docs/guides/model.md).
"""

from enum import IntEnum
from zlib import crc32

from batchfront.vocabulary import Purpose

_MASK = (1 << 64) - 1


def mix(*parts: int) -> int:
    """A 63-bit seed from whole numbers, every bit depending on every part (splitmix64)."""
    state = 0
    for part in parts:
        state = (state + part + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


class SeedStream(IntEnum):
    """The random streams of a trial that batchfront trains; the values are a part of its results.

    INITIAL_WEIGHTS -- what `model()` draws, on the CPU: torch's, NumPy's and Python's generators
                       are seeded with it before the model is made
    ORDER           -- of the training examples: those of an epoch are
                       `torch.randperm(n, generator=torch.Generator().manual_seed(seed))`, and the
                       batches are cut from one epoch after the other, across their ends
    STEP            -- what the update after so many updates draws: dropout and augmentation
    EVALUATION      -- what an evaluation after so many updates draws
    TEST            -- what the evaluation on the test split draws
    """

    INITIAL_WEIGHTS = 0
    ORDER = 1
    STEP = 2
    EVALUATION = 3
    TEST = 4

    def seed(self, trial: int, *place: int) -> int:
        """The stream's seed in a trial, or at a place of it: of ORDER the epoch, of STEP,
        EVALUATION and TEST the updates done so far, all from 0.

        trial -- the trial's seed
        """
        if self in (SeedStream.ORDER, SeedStream.STEP) and place:
            return mix(mix(trial, self), *place)
        return mix(trial, self, *place)


def study_seed(seed: int, workload: str, batch_size: int, purpose: str = Purpose.SEARCH) -> int:
    """The seed of one study: other points, and other trials, at every batch size and for every
    purpose."""
    parts = (seed, crc32(workload.encode()), batch_size)
    return mix(*parts) if purpose == Purpose.SEARCH else mix(*parts, crc32(purpose.encode()))


def trial_seed(study: int, number: int) -> int:
    """The seed of one trial of a study."""
    return mix(study, number)
