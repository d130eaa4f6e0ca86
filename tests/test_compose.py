"""What docker-compose.yml and the Dockerfile promise, as far as reading them can tell."""

import json
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import make_url

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
ROLES = (ROOT / "deploy" / "roles.sql").read_text()

OURS = [name for name, service in SERVICES.items() if "build" in service]
WORKERS = [name for name in OURS if (SERVICES[name].get("command") or [""])[0] == "work"]
PAGES = [name for name in OURS if "ports" in SERVICES[name]]

every_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


def seconds(duration: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([sm])", duration).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


def test_it_has_the_services_that_the_rest_of_this_file_looks_at() -> None:
    assert set(WORKERS) == {"worker", "gpu-worker"}
    assert set(PAGES) == {"dashboard", "report"}
    assert set(SERVICES) - set(OURS) == {"postgres"}


def test_it_is_valid_by_the_compose_specification() -> None:
    check = ("--builtin-schema", "vendor.compose-spec", str(ROOT / "docker-compose.yml"))
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *check], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@every_service
def test_passwords_come_from_the_service_s_own_secret_files(service: dict[str, Any]) -> None:
    for name, value in service["environment"].items():
        if name.endswith("PASSWORD_FILE"):
            assert Path(value).parent == Path("/run/secrets")
            assert Path(value).name in service["secrets"]
        else:
            assert "PASSWORD" not in name
    storage = service["environment"].get("BATCHFRONT_STORAGE")
    assert storage is None or make_url(storage).password is None


def test_secrets_are_files_that_neither_git_nor_the_build_takes_in() -> None:
    assert set(COMPOSE["secrets"]) == {"postgres", "batchfront", "worker", "reader"}
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert "!secrets" not in ignored
    assert "PASSWORD" not in DOCKERFILE


@every_service
def test_nothing_is_published_beyond_this_machine(service: dict[str, Any]) -> None:
    assert "network_mode" not in service
    for port in service.get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z_]+:-\d+\}:\d+", port), port


@every_service
def test_every_container_has_no_more_rights_than_it_needs(service: dict[str, Any]) -> None:
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]
    assert service["logging"]["options"]["max-size"]


def test_no_container_runs_as_root() -> None:
    assert SERVICES["postgres"]["user"] == "postgres"
    base = DOCKERFILE.split(" AS base\n")[1]
    users = re.findall(r"^USER (\S+)$", base, re.M)
    assert users == ["10001:10001"]
    for name in OURS:
        assert "user" not in SERVICES[name]
        target = SERVICES[name]["build"]["target"]
        assert re.search(rf"^FROM base AS {target}$", DOCKERFILE, re.M)


def test_the_database_is_healthy_before_its_tables_are_made_and_they_before_all_else() -> None:
    assert SERVICES["postgres"]["healthcheck"]["test"][1] == "pg_isready"
    assert SERVICES["init"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert "restart" not in SERVICES["init"]
    for name in set(OURS) - {"init"}:
        wanted = {"init": {"condition": "service_completed_successfully"}}
        assert SERVICES[name]["depends_on"] == wanted


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_have_a_role_that_only_reads(name: str) -> None:
    service = SERVICES[name]
    assert service["secrets"] == ["reader"]
    assert make_url(service["environment"]["BATCHFRONT_STORAGE"]).username == "reader"
    assert re.findall(r"GRANT .* TO .*reader", ROLES) == [
        "GRANT CONNECT ON DATABASE batchfront TO worker, reader",
        "GRANT pg_read_all_data TO reader",
    ]


@pytest.mark.parametrize("name", sorted({*OURS} - {*PAGES, "init"}))
def test_workers_and_commands_have_a_role_that_may_change_rows_and_no_tables(name: str) -> None:
    service = SERVICES[name]
    assert service["secrets"] == ["worker"]
    assert make_url(service["environment"]["BATCHFRONT_STORAGE"]).username == "worker"
    assert SERVICES["init"]["secrets"] == ["batchfront"]  # the owner
    assert {tuple(rights.split(", ")) for rights in re.findall(r"GRANT ([A-Z, ]+) ON", ROLES)} == {
        ("CONNECT",),
        ("SELECT", "INSERT", "UPDATE", "DELETE"),
        ("USAGE",),
    }


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_are_probed_where_they_listen(name: str) -> None:
    service = SERVICES[name]
    probe = service["healthcheck"]["test"]
    compile(probe[-1], name, "exec")
    port = re.search(r'"127\.0\.0\.1", (\d+)', probe[-1]).group(1)
    assert service["command"][-4:] == ["--host", "0.0.0.0", "--port", port]
    assert 'request("GET", "/healthz")' in probe[-1]
    assert [published.rsplit(":", 1)[1] for published in service["ports"]] == [port]


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_answer_to_the_names_of_this_machine_alone(name: str) -> None:
    command = SERVICES[name]["command"]
    named = [command[n + 1] for n, word in enumerate(command) if word == "--allowed-host"]
    assert named == ["localhost", "127.0.0.1"]


@pytest.mark.parametrize("name", WORKERS)
def test_workers_stop_in_good_order_and_share_their_checkpoints(name: str) -> None:
    service = SERVICES[name]
    assert seconds(service["stop_grace_period"]) > 10
    assert service["init"] is True
    assert service["restart"] == "unless-stopped"
    kept = {
        volume.rsplit(":", 2 if volume.endswith(":ro") else 1)[1] for volume in service["volumes"]
    }
    assert kept == {"/checkpoints", "/data", "/workloads"}
    assert service["environment"]["BATCHFRONT_CHECKPOINT_DIR"] == "/checkpoints"
    assert "ports" not in service
    assert "container_name" not in service  # with which it couldn't be scaled


def test_only_the_gpu_profile_asks_for_a_gpu() -> None:
    profiles = {name: service.get("profiles") for name, service in SERVICES.items()}
    assert profiles["worker"] == ["cpu"]
    assert profiles["gpu-worker"] == ["gpu"]
    assert "nvidia" in json.dumps(SERVICES["gpu-worker"]["deploy"]["resources"]["reservations"])
    others = {name: service for name, service in SERVICES.items() if name != "gpu-worker"}
    assert "nvidia" not in json.dumps(others)


@pytest.mark.parametrize("name", [name for name in OURS if "command" in SERVICES[name]])
def test_every_command_is_one_of_batchfront_s(name: str) -> None:
    command, *arguments = SERVICES[name]["command"]
    parsed = import_module(f"batchfront.cli.{command}").command
    parsed.make_context(command, [str(argument) for argument in arguments])


def test_the_guide_names_what_can_be_set() -> None:
    guide = (ROOT / "docs" / "guides" / "docker.md").read_text()
    settings = re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text())
    assert len(settings) > 4
    for name in (*settings, *COMPOSE["secrets"], "cpu", "gpu"):
        assert name in guide


def test_the_image_runs_batchfront_and_is_given_what_it_copies() -> None:
    assert re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.M) == ['["batchfront"]']
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.M)
        for source in shlex.split(line)[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists()
        assert f"!{source}" in allowed


def test_the_packages_are_those_that_the_tests_ran_with() -> None:
    before, _, after = DOCKERFILE.partition("pip --python")
    constraints = re.findall(r"^ENV PIP_CONSTRAINT=(\S+) PIP_BUILD_CONSTRAINT=(\S+)$", before, re.M)
    assert constraints == [
        ("/source/constraints.txt",) * 2
    ]  # of a stage that the others begin with
    assert "WORKDIR /source\n" in before
    assert "COPY constraints.txt pyproject.toml ./" in before
    assert re.findall(r"^FROM (\w+) AS (?:training|code)$", after, re.M) == ["packages"] * 2
    assert "://" not in DOCKERFILE  # an index is whoever builds's to name


def test_the_base_images_can_be_pinned_by_their_digests() -> None:
    assert set(re.findall(r"^FROM (\$\S+)", DOCKERFILE, re.M)) == {"${PYTHON_IMAGE}"}
    assert all("PYTHON_IMAGE" in SERVICES[name]["build"]["args"] for name in OURS)
    assert SERVICES["postgres"]["image"].startswith("${POSTGRES_IMAGE:-postgres:")
    guide = (ROOT / "docs" / "guides" / "docker.md").read_text()
    assert "POSTGRES_IMAGE=" in guide
    assert "PYTHON_IMAGE=" in guide
