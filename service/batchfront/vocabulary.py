"""The words that databases keep and commands take: each list once, in its order.

Members are strings, so they equal what a database, a file or a command line says. Databases keep
their values: a member may be renamed, its value can't.
"""

from enum import StrEnum


class Outcome(StrEnum):
    """How a trial ends, in the order in which tables and pages list outcomes."""

    REACHED = "reached", "passed the goal"
    CAPPED = (
        "capped",
        "stopped because as many others of its study as were to finish had already won with no "
        "more steps; it could not have become the winner",
    )
    DROPPED = (
        "dropped",
        "stopped by an option of the search, as it was behind others; it might have won",
    )
    STALLED = "stalled", "made no progress for a long stretch"
    DIVERGED = "diverged", "its loss, or the goal metric, grew out of bounds"
    EXHAUSTED = "exhausted", "spent its whole step budget"
    FAILED = "failed", "ended in an error, also when tried again"

    meaning: str

    def __new__(cls, value: str, meaning: str = "") -> "Outcome":
        member = str.__new__(cls, value)
        member._value_, member.meaning = value, meaning
        return member

    @property
    def optuna_state(self) -> str:
        """The name of the state in which Optuna's trial ends: COMPLETE where the goal was reached,
        FAIL after an error, PRUNED otherwise."""
        if self is Outcome.REACHED:
            return "COMPLETE"
        return "FAIL" if self is Outcome.FAILED else "PRUNED"


class SlotState(StrEnum):
    """What can be done with a slot."""

    LATER = "later"  # waits for the generations, or rounds, before its own
    FREE = "free"
    LEASED = "leased"
    DONE = "done"


class WorkerState(StrEnum):
    """What a worker is at."""

    BUSY = "busy"
    IDLE = "idle"
    STOPPED = "stopped"
    LOST = "lost"  # its lease ran out


class Phase(StrEnum):
    """What a worker does that takes a while and isn't training."""

    IMPORTING = "importing", "importing code"
    CHECKING = "checking", "loading the workload"
    ENGINES = "engines", "comparing engines"
    SAVING = "saving", "saving trials"

    in_words: str

    def __new__(cls, value: str, in_words: str = "") -> "Phase":
        member = str.__new__(cls, value)
        member._value_, member.in_words = value, in_words
        return member


class Purpose(StrEnum):
    """What the trials of a study are for.

    A frontier is made of studies for `search`, whose best trial is a point of it, and for `points`,
    steps measured elsewhere, one trial a seed, whose median is. The others run trials of a search
    again: its best ones, or what a rule makes of the winner of the smallest batch size.
    """

    SEARCH = "search"
    POINTS = "points"
    CONFIRM = "confirm"
    LINEAR = "linear"
    SQUARE_ROOT = "square-root"
    ADAM_SQUARE_ROOT = "adam-square-root"  # the longest that the column holds
    BETA2_HALF_LIFE = "beta2-half-life"
    WEIGHT_DECAY = "weight-decay"


SEARCHES = (Purpose.SEARCH, Purpose.POINTS)
"""Purposes of the studies that make up a frontier."""

SCALING_RULES = tuple(p for p in Purpose if p not in (*SEARCHES, Purpose.CONFIRM))
"""Purposes of the studies that follow a scaling rule, which has the name:
`batchfront.workload.scaling_rules` says what it does."""


class Sampler(StrEnum):
    """What a study's metaparameters are sampled by."""

    SOBOL = "sobol"
    TPE = "tpe"
    GP = "gp"
    JOINT = "joint"
    IMPORTED = "imported"  # the trials ran elsewhere


SAMPLERS = (Sampler.SOBOL, Sampler.TPE, Sampler.GP, Sampler.JOINT)
"""Those that a plan may ask for: quasi-random points computed up front, or sampled from results."""

ADAPTIVE = (Sampler.TPE, Sampler.GP, Sampler.JOINT)
"""Those that need results to sample from: Optuna's, of one batch size's, and batchfront's own, of
all batch sizes' at once."""


class Schedule(StrEnum):
    """How the trials of a study follow each other."""

    RACE = "race"
    ONE_BY_ONE = "one-by-one"
    IMPORTED = "imported"  # the trials ran elsewhere


SCHEDULES = (Schedule.RACE, Schedule.ONE_BY_ONE)
"""Those that a plan may ask for."""


class Count(StrEnum):
    """Which trials a study's budget counts."""

    ALL = "all"
    FEASIBLE = "feasible"  # a diverged trial is replaced by another


class AfterGoal(StrEnum):
    """What a trial does that has passed the goal."""

    STOP = "stop"
    CONTINUE = "continue"


class Evaluate(StrEnum):
    """At which of the evaluated steps a trial is evaluated."""

    EVERY = "every"
    SPARSE = "sparse"  # those between two full evaluations only where it may have passed the goal


class TimedPart(StrEnum):
    """What of training is timed alone."""

    PASS = "pass"  # forward and backward, of a micro-batch; its loading too, if not done ahead
    UPDATE = "update"  # the optimizer's step
    LOADING = "loading"  # of a micro-batch of so many examples
    EVALUATION = "evaluation"  # in full, of the validation split, which has so many examples
    ALL_REDUCE = "all-reduce"  # of the gradient, over the devices
    STEP = "step"  # a whole one, of a batch of so many examples over all devices


class KeepModel(StrEnum):
    """Whose weights are kept when a trial passes the goal."""

    BEST = "best"  # of each batch size, the best trial's so far
    NONE = "none"


class LogFormat(StrEnum):
    """How a command writes what it says on standard error."""

    TEXT = "text"  # lines for a person, and on a terminal a display
    JSON = "json"  # an object a line


class EngineName(StrEnum):
    """What computes the trials of a heat."""

    AUTO = "auto"  # whatever a short trial finds to be faster
    SEQUENTIAL = "sequential"
    VECTORIZED = "vectorized"


SHARED_BY = "BATCHFRONT_WORKERS_HERE"
"""In a worker's environment: how many processes that train share its machine, each of which may
have others that decode examples for it."""
