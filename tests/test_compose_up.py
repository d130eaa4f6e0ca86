"""docker-compose.yml really brought up: four workers, a database that goes away twice, and pages.

Builds the images, which takes minutes and gigabytes, so it is only run when asked for.
"""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psycopg2.errors
import pytest

from tests.ports import free_port
from tests.waiting import LONG, eventually

ROOT = Path(__file__).parents[1]
PLAN = ("digits/mlp/momentum", "--batch-sizes", "2..128", "--trials", "64")
PAGES = ("dashboard", "report")
PORTS = ("POSTGRES_PORT", "DASHBOARD_PORT", "REPORT_PORT")


def why_not() -> str:
    if os.environ.get("BATCHFRONT_TEST_DOCKER") != "1":
        return "BATCHFRONT_TEST_DOCKER=1 asks for it"
    if shutil.which("docker") is None:
        return "there is no docker command"
    for words in (("info",), ("compose", "version")):
        asked = subprocess.run(["docker", *words], capture_output=True, text=True)
        if asked.returncode:
            return f"docker {' '.join(words)}: {asked.stderr.strip().splitlines()[-1]}"
    return ""


pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.timeout(3600),
]


@dataclass(frozen=True)
class Stack:
    """A project of its own, from a folder with its own secrets."""

    folder: Path
    environment: dict[str, str]
    passwords: dict[str, str]

    def docker(self, *words: str) -> str:
        done = subprocess.run(
            ["docker", *words], env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def compose(self, *words: str) -> str:
        project = ("--project-name", "batchfront-test", "--profile", "cpu")
        file = ("--file", str(ROOT / "docker-compose.yml"))
        place = ("--project-directory", str(self.folder))
        return self.docker("compose", *project, *file, *place, *words)

    def batchfront(self, *words: str, storage: str | None = None) -> str:
        other = () if storage is None else ("--env", f"BATCHFRONT_STORAGE={storage}")
        return self.compose("run", "--rm", "-T", *other, "batchfront", *words)

    def containers(self, service: str) -> list[Any]:
        ids = self.compose("ps", "--all", "--quiet", service).split()
        return list(json.loads(self.docker("inspect", *ids))) if ids else []

    def sql(self, query: str) -> str:
        psql = ("psql", "--username=postgres", "--tuples-only", "--no-align", "--command", query)
        return self.compose("exec", "-T", "postgres", *psql, "batchfront").strip()

    def healthy(self, service: str = "postgres") -> bool:
        return bool(self.containers(service)[0]["State"]["Health"]["Status"] == "healthy")

    def done(self) -> int:
        return int(self.sql("SELECT count(*) FROM bf_slots WHERE state = 'done'"))

    def ask(self, port: str, path: str, method: str = "GET") -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", int(self.environment[port]), timeout=LONG)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    (folder / "secrets").mkdir()
    (folder / "workloads").mkdir()
    shutil.copytree(ROOT / "deploy", folder / "deploy")
    passwords = {
        name: secrets.token_hex(24) for name in ("postgres", "batchfront", "worker", "reader")
    }
    for name, password in passwords.items():
        (folder / "secrets" / name).write_text(password)
    ports = {name: str(free_port()) for name in PORTS}
    made = Stack(folder, os.environ | ports, passwords)
    made.docker("compose", "--profile", "cpu", "--file", str(ROOT / "docker-compose.yml"), "build")
    try:
        made.compose("up", "--detach", "--no-build", "--scale", "worker=4")
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout", "30")


@pytest.fixture(scope="module")
def frontier(stack: Stack) -> list[dict[str, Any]]:
    """What four workers found while the database was restarted, and killed."""
    stack.batchfront("plan", *PLAN)
    eventually(lambda: stack.done() > 10)
    stack.compose("restart", "postgres")
    eventually(stack.healthy)
    before = stack.done()
    eventually(lambda: stack.done() > before)
    stack.compose("kill", "--signal", "KILL", "postgres")
    stack.compose("start", "postgres")
    eventually(stack.healthy)
    slots = int(stack.sql("SELECT count(*) FROM bf_slots"))
    assert stack.done() < slots, "all was done before the database came back: nothing was tried"
    eventually(lambda: stack.done() == slots)
    return points(stack.batchfront("frontier", PLAN[0], "--format", "json"))


def points(frontier: str) -> list[dict[str, Any]]:
    """What doesn't depend on which worker ran what."""
    kept = ("batch_size", "steps", "steps_lower", "examples", "params")
    return [{key: point[key] for key in kept} for point in json.loads(frontier)["points"]]


def test_the_frontier_is_that_of_one_machine_with_sqlite(
    stack: Stack, frontier: list[dict[str, Any]]
) -> None:
    alone = stack.batchfront(
        *("run", *PLAN, "--workers", "2", "--report", "/tmp/report.html", "--format", "json"),
        storage="sqlite:////tmp/studies.db",
    )
    assert points(alone) == frontier


def test_four_workers_shared_it_and_every_slot_ended_once(
    stack: Stack, frontier: list[dict[str, Any]]
) -> None:
    assert len(stack.containers("worker")) == 4
    assert stack.sql("SELECT count(*) FROM bf_slots WHERE state <> 'done'") == "0"
    assert stack.sql("SELECT count(*) FROM trials WHERE state = 'RUNNING'") == "0"
    assert stack.sql("SELECT count(*) FROM bf_slots") == stack.sql("SELECT count(*) FROM trials")


def test_the_pages_answer_and_change_nothing(stack: Stack, frontier: list[dict[str, Any]]) -> None:
    eventually(lambda: b"digits/mlp/momentum" in stack.ask("REPORT_PORT", "/")[1])
    for page in PAGES:
        assert stack.healthy(page)
    status, listed = stack.ask("DASHBOARD_PORT", "/api/studies")
    assert status == 200
    study = json.loads(listed)["study_summaries"][0]["study_id"]
    assert stack.ask("DASHBOARD_PORT", f"/api/studies/{study}", "DELETE")[0] in (403, 405)
    assert stack.ask("DASHBOARD_PORT", "/api/studies")[1] == listed


def test_the_worker_s_role_owns_nothing(stack: Stack) -> None:
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert stack.sql(owners) == "batchfront"
    assert "worker" in stack.sql("SELECT DISTINCT usename FROM pg_stat_activity")


def test_the_reader_can_change_nothing_even_in_a_transaction_that_may_write(stack: Stack) -> None:
    reader = psycopg2.connect(
        host="127.0.0.1",
        port=stack.environment["POSTGRES_PORT"],
        user="reader",
        password=stack.passwords["reader"],
        dbname="batchfront",
        options="-c default_transaction_read_only=off",
    )
    with reader.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute("DELETE FROM studies")
    reader.close()


def test_no_password_is_shown(stack: Stack, frontier: list[dict[str, Any]]) -> None:
    ids = stack.compose("ps", "--all", "--quiet").split()
    running = stack.compose("ps", "--quiet").split()
    assert len(ids) > len(running) > 6
    shown = [
        stack.compose("config"),
        stack.docker("inspect", *ids),
        stack.compose("logs", "--no-color"),
        *(stack.docker("top", one, "-eo", "pid,args") for one in running),
        stack.docker("history", "--no-trunc", "batchfront-worker"),
    ]
    for password in stack.passwords.values():
        assert not any(password in text for text in shown)


def test_workers_that_are_stopped_exit_in_good_order(stack: Stack) -> None:
    stack.batchfront("plan", "digits/mlp/sgd", "--batch-sizes", "2,4", "--trials", "64")
    eventually(lambda: stack.sql("SELECT count(*) FROM bf_slots WHERE state = 'leased'") != "0")
    stack.compose("stop", "worker")  # which kills what outstays its grace period: 137
    codes = [container["State"]["ExitCode"] for container in stack.containers("worker")]
    assert codes == [0, 0, 0, 0]
    assert stack.sql("SELECT count(*) FROM bf_slots WHERE state = 'leased'") == "0"
