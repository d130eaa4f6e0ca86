"""Processes that do nothing but claim and end trials, through our ledger or through Optuna."""

import os
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter, sleep
from typing import Any

import optuna
from optuna.storages import BaseStorage, GrpcStorageProxy, RDBStorage, run_grpc_proxy_server

from batchfront.ledger.ledger import Ledger
from batchfront.store.url import open_storage
from tests.benchmarks.noop_trials import DISTRIBUTIONS, VERSIONS, planned, race, reached
from tests.benchmarks.production_server import Server
from tests.processes import Child, forkserver

HEATS, SINGLES = "ours, heats of 32", "ours, heats of 1"
OPTUNA, OPTUNA_BARE = "Optuna, the same record", "Optuna, value only"
PROXY, PROXY_BARE = "gRPC proxy, the same record", "gRPC proxy, value only"
KINDS = (HEATS, SINGLES, OPTUNA, OPTUNA_BARE, PROXY, PROXY_BARE)

BATCH_SIZES = (1, 2, 4, 8, 12, 16, 24, 32)
"""One study each, which share the processes among them."""

_SLOTS = 5_000  # of each study: more than can be used up
_READY_SECONDS = 60.0

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of the proxy


@dataclass(frozen=True)
class Contest:
    """What is run: so many processes, for so many seconds."""

    kind: str
    processes: int
    seconds: float


def trials_a_second(on: Server, contest: Contest) -> float:
    """The trials that all processes together end in a second, on a database of their own."""
    url = _prepared(on, contest.kind)
    context = forkserver("tests.benchmarks.contenders")
    with _proxy(url, contest.kind) as where:
        barrier, answers = context.Barrier(contest.processes), context.Queue()
        processes = [
            Child(_contend, (contest, where, n, barrier, answers)) for n in range(contest.processes)
        ]
        for process in processes:
            process.start()
        rates = [answers.get(timeout=300) for _ in processes]
        for process in processes:
            process.join()
    for rate in rates:
        if isinstance(rate, str):
            raise RuntimeError(f"{contest}: {rate}")
    return float(sum(rates))


def _prepared(on: Server, kind: str) -> str:
    storage = on.fresh()
    if kind in (HEATS, SINGLES):
        planned(storage, _SLOTS, BATCH_SIZES)
    url = storage.url.render_as_string(hide_password=False)
    storage.close()
    if kind not in (HEATS, SINGLES):
        theirs = RDBStorage(url)
        for batch_size in BATCH_SIZES:
            optuna.create_study(study_name=f"b{batch_size}", storage=theirs)
        theirs.engine.dispose()
    return url


@contextmanager
def _proxy(url: str, kind: str) -> Iterator[str]:
    """The database's URL, or the port of a gRPC proxy of it for as long as this lasts."""
    if kind not in (PROXY, PROXY_BARE):
        yield url
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = Child(_serve, (url, port))
    process.start()
    try:
        _wait_for(port)
        yield str(port)
    finally:
        process.terminate()
        process.join()


def _wait_for(port: int) -> None:
    deadline = perf_counter() + _READY_SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if perf_counter() > deadline:
                raise
            sleep(0.05)


def _serve(url: str, port: int) -> None:
    run_grpc_proxy_server(optuna.storages.get_storage(url), host="127.0.0.1", port=port)


def _contend(contest: Contest, where: str, n: int, barrier: Any, answers: Any) -> None:
    try:
        once = _act(contest.kind, where, n)
        once()  # what is done once a process is no part of it
        barrier.wait(120)
        began, done = perf_counter(), 0
        while perf_counter() - began < contest.seconds:
            done += once()
        answers.put(done / (perf_counter() - began))
    except BaseException as error:
        barrier.abort()
        answers.put(f"{type(error).__name__}: {error}")


def _act(kind: str, where: str, n: int) -> Callable[[], int]:
    """What a process repeats; it returns how many trials have ended."""
    if kind in (HEATS, SINGLES):
        ledger = Ledger(open_storage(where), f"worker-{n}")
        ledger.register("here", os.getpid(), "cpu")
        return lambda: _race(ledger, 32 if kind == HEATS else 1)
    storage: BaseStorage = (
        GrpcStorageProxy(host="127.0.0.1", port=int(where))
        if kind in (PROXY, PROXY_BARE)
        else RDBStorage(where)
    )
    name = f"b{BATCH_SIZES[n % len(BATCH_SIZES)]}"
    study = optuna.load_study(
        study_name=name, storage=storage, sampler=optuna.samplers.RandomSampler()
    )
    return lambda: _ask_and_tell(study, bare=kind in (OPTUNA_BARE, PROXY_BARE))


def _race(ledger: Ledger, heat: int) -> int:
    ended = race(ledger, heat, reached(100))
    if ended is None:
        sys.exit("all slots are used up")
    return len(ended[1])


def _ask_and_tell(study: optuna.Study, *, bare: bool) -> int:
    """One trial; unless bare, with all that our ledger writes of it."""
    if bare:
        study.tell(study.ask(), 100.0)
        return 1
    trial = study.ask(DISTRIBUTIONS)
    trial.set_user_attr("versions", VERSIONS)
    trial.report(0.09, 100)
    for name, value in (("outcome", "reached"), ("reason", "goal passed"), ("steps", 100)):
        trial.set_user_attr(name, value)
    study.tell(trial, 100.0)
    return 1
