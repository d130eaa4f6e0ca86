"""How many training steps a worker may still take."""

from threading import Event


class StepBudget:
    """The training steps that a worker may take, of all its trials together; None: no limit.

    `stop` is set once they are taken: what ends a worker early otherwise does so here.
    """

    def __init__(self, steps: int | None, stop: Event) -> None:
        self._left, self._stop = steps, stop

    def spend(self, steps: int) -> None:
        """Count steps that have been trained."""
        if self._left is None:
            return
        self._left -= steps
        if self._left <= 0:
            self._stop.set()
