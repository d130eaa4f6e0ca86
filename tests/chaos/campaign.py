"""One plan, run twice: by one worker in peace, and by many in chaos."""

import random
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from batchfront.ledger.ledger import LEASE_SECONDS
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.store.url import open_storage
from batchfront.workload.sweep_file import read_sweep_file
from tests.chaos.fleet import Fleet
from tests.chaos.programs import write_sweeps
from tests.chaos.service import Crashing, Service
from tests.chaos.verdict import compare, rows
from tests.postgres import TEMPLATE, Postgres
from tests.toy import POISONED, SPEC, clouds, poisoned
from tests.waiting import LONG

_OUT_OF_TIME = 600.0


@dataclass(frozen=True)
class Scale:
    """How much of it.

    workers     -- at any time
    trials      -- a study
    batch_sizes -- of the plan
    pause       -- seconds that a training step takes longer, in chaos
    every       -- seconds between two faults, on average
    faults      -- of workers, at most: a machine that is slow would else see its workers die
                   faster than they get anything done
    programs    -- whether the trials are programs, which are killed too, and their supervisors
    service     -- whether the database is one that fails over, is put back, stalls and only reads,
                   instead of one that crashes
    """

    workers: int = 8
    trials: int = 16
    batch_sizes: tuple[int, ...] = (4, 8, 16, 32)
    pause: float = 0.03
    every: float = 1.0
    faults: int = 60
    programs: bool = False
    service: bool = False


QUICK = Scale(workers=4, trials=8, batch_sizes=(4, 16), faults=12)

PROGRAMS = ("kill a program of", "kill a supervisor of", "kill with its supervisors")
"""Faults of workers whose trials are programs."""


@dataclass(frozen=True)
class Tally:
    """What was done in one seed's chaos, and what came of it.

    workers     -- started in all
    programs    -- killed
    supervisors -- killed, with their workers or alone
    taken_over  -- slots that more than one claim was needed for
    slowest_end -- seconds from SIGTERM to exit
    troubles    -- of the service: how often each befell it, how many connections fell silent, and
                   how many slots that were done weren't any more, since their commits were lost
    """

    seed: int
    slots: int
    seconds: float
    workers: int
    killed: int
    frozen: int
    terminated: int
    programs: int
    supervisors: int
    crashes: int
    taken_over: int
    slowest_end: float
    wrong: list[str]
    troubles: Mapping[str, int]


def prepare(server: Postgres) -> None:
    """Make the template of which each run's database is a copy."""
    open_storage(server.url(TEMPLATE), create=True).close()
    server.execute(f"ALTER DATABASE {TEMPLATE} ALLOW_CONNECTIONS false")


def undisturbed(server: Postgres, folder: Path, scale: Scale) -> str:
    """Run the plan with one worker and no fault; the name of its database."""
    name = _planned(server, scale, folder)
    fleet = Fleet((server.url(name),), _made(folder / "undisturbed"), pause=0.0)
    try:
        fleet.start(1)
        fleet.wait(_OUT_OF_TIME)
    finally:
        fleet.end()
    if fleet.wrong:
        raise RuntimeError(f"undisturbed, {'; '.join(fleet.wrong)}")
    return name


def run(
    server: Postgres,
    folder: Path,
    scale: Scale,
    seed: int,
    calm: str,
    tell: Callable[[str], None],
) -> Tally:
    """Run the plan in chaos, and compare it with the undisturbed database `calm`."""
    name = _planned(server, scale, folder)
    dice = random.Random(seed)
    fleet = Fleet((server.url(name),), _made(folder / f"seed-{seed}"), scale.pause)
    chaos = _Chaos(server, name, fleet, scale, dice, tell)
    began = time.monotonic()
    try:
        fleet.urls = chaos.service.urls
        fleet.start(scale.workers)
        chaos.rage()
        fleet.wait(LONG)
        fleet.blame_left()
        seconds = time.monotonic() - began
        found = chaos.service.current.url(name)
        opened = open_storage(found)
        taken_over = sum(row.fence > 1 for row in rows(opened).values())
        opened.close()
        server.make_sure()
        wrong = [*fleet.wrong, *compare(server.url(calm), found, fleet.checkpoints)]
    finally:
        fleet.end()
        chaos.service.close()
        server.make_sure()
    if not wrong:
        server.drop(name)
        shutil.rmtree(fleet.folder)
    return Tally(
        seed,
        chaos.slots,
        seconds,
        fleet.started,
        fleet.killed,
        fleet.frozen,
        fleet.terminated,
        fleet.programs_killed,
        fleet.supervisors_killed,
        chaos.service.counts["crash"],
        taken_over,
        fleet.slowest_end,
        wrong,
        chaos.service.counts,
    )


class _Chaos:
    """Faults at random, until no slot is left."""

    def __init__(
        self,
        server: Postgres,
        name: str,
        fleet: Fleet,
        scale: Scale,
        dice: random.Random,
        tell: Callable[[str], None],
    ) -> None:
        self.fleet, self.scale, self.dice, self.tell = fleet, scale, dice, tell
        kind = Service if scale.service else Crashing
        self.service: Service | Crashing = kind(server, name, dice, self._let_pass)
        self.slots = self.service.count("true")
        self._troubles = self.service.due()

    def rage(self) -> None:
        """Until every slot is done."""
        deadline = time.monotonic() + _OUT_OF_TIME
        strikes = time.monotonic() + self._pause()
        while (done := self.service.count("state = 'done'")) < self.slots:
            if self._troubles and done >= self._troubles[0][0] * self.slots:
                _, trouble = self._troubles.pop(0)
                self.tell(trouble)
                self.service.befall(trouble)
            if time.monotonic() > strikes:
                self.service.interfere()
                if self.fleet.faults < self.scale.faults:
                    self._strike()
                strikes = time.monotonic() + self._pause()
            self.fleet.look(replace=True)
            if not self.fleet.live:  # all was done, and then it wasn't any more
                self.fleet.start(1)
            if time.monotonic() > deadline:
                left = self.slots - done
                self.fleet.wrong.append(f"{left} slots are not done after {_OUT_OF_TIME:g} s")
                return
            time.sleep(0.05)

    def _pause(self) -> float:
        return self.scale.every * self.dice.uniform(0.5, 1.5)

    def _strike(self) -> None:
        known = self.service.pids()
        victims = [w for w in self.fleet.live if w.at_large and w.process.pid in known]
        fault = self.dice.choice(("kill", "freeze", "terminate") + PROGRAMS * self.scale.programs)
        if fault in PROGRAMS:
            victims = [w for w in victims if self.fleet.supervisors(w)]
        if not victims:
            return
        victim = self.dice.choice(victims)
        self.tell(f"{fault} {victim.process.pid}")
        if fault == "kill":
            self.fleet.kill(victim)
        elif fault == "kill a program of":
            self.fleet.kill_program(victim)
        elif fault == "kill a supervisor of":
            self.fleet.kill_supervisor(victim)
        elif fault == "kill with its supervisors":
            self.fleet.kill_with_supervisors(victim)
        elif fault == "terminate":
            self.fleet.terminate(victim)
        else:
            self.fleet.freeze(victim, LEASE_SECONDS * self.dice.uniform(1.3, 2.5))

    def _let_pass(self, seconds: float) -> None:
        """Time in which workers come and go."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.fleet.look(replace=True)
            time.sleep(0.05)


def _planned(server: Postgres, scale: Scale, folder: Path) -> str:
    """A database with the plan: workloads of which one has trials that fail."""
    name = server.create()
    storage = open_storage(server.url(name))
    asked = SearchOptions(trials=scale.trials, batch_sizes=scale.batch_sizes)
    if scale.programs:
        for path in write_sweeps(folder):
            plan(storage, str(path), read_sweep_file(path).program, asked)
    else:
        plan(storage, SPEC, clouds(), asked)
        plan(storage, POISONED, poisoned(), replace(asked, batch_sizes=scale.batch_sizes[:1]))
    storage.close()
    return name


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
