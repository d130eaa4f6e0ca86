"""Which code may be loaded because a database says so."""

import shutil
from pathlib import Path

import pytest

from batchfront.errors import IdentityError, UntrustedCode, UsageError
from batchfront.workload.source import find_source
from batchfront.workload.trust import Trust

NAME = "mine/mlp/sgd"


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    """A folder with two files in it, beside one that nobody has allowed."""
    folder = tmp_path / "allowed"
    folder.mkdir()
    (folder / "w.py").write_text("import beside\n")
    (folder / "beside.py").write_text("")
    (tmp_path / "evil.py").write_text("raise SystemError\n")
    return folder


def refused(trust: Trust, spec: str) -> UntrustedCode:
    with pytest.raises(UntrustedCode) as error:
        trust.spec(NAME, spec, None)
    return error.value


def checksums(spec: str) -> dict[str, str]:
    source = find_source(spec)
    assert source is not None
    return source.checksums()


def test_the_catalogs_names_need_nobodys_word() -> None:
    nobody = Trust()
    for spec in ("digits/mlp/momentum", "batchfront_studies.digits:sgd", "studies.digits:sgd"):
        assert nobody.spec(NAME, spec, None) == spec


@pytest.mark.parametrize(
    "spec",
    ["batchfront_studies.digits:workloads", "os:abort", "shutil:rmtree", "webbrowser:open_new"],
)
def test_what_else_is_installed_needs_it(spec: str) -> None:
    assert NAME in str(refused(Trust(), spec))


def test_files_in_a_place_may_be_loaded_and_no_others(allowed: Path, tmp_path: Path) -> None:
    spec, trust = f"{allowed}/w.py:w", Trust.of([str(allowed)])
    assert trust.spec(NAME, spec, checksums(spec)) == spec
    assert Trust.of([f"{allowed}/w.py"]).spec(NAME, spec, checksums(spec)) == spec
    error = refused(Trust(), spec)
    assert error.place == str(allowed / "w.py")
    (allowed / "out.py").symlink_to(tmp_path / "evil.py")
    for other in ("../evil.py", "out.py"):
        assert refused(trust, f"{allowed}/{other}:w").place == str(tmp_path / "evil.py")
    assert refused(Trust.of([f"{allowed}/beside.py"]), spec).place == str(allowed / "w.py")


def test_a_place_may_be_named_by_a_link(allowed: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(allowed)
    spec = f"{allowed}/w.py:w"
    assert Trust.of([str(tmp_path / "link")]).spec(NAME, spec, None) == spec


def test_the_database_does_not_choose_what_a_trusted_module_imports_from(
    allowed: Path, tmp_path: Path
) -> None:
    """The folder of a module may be anybody's, such as the one for temporary files."""
    by_folder, by_file = Trust.of([str(allowed)]), Trust.of([f"{allowed}/w.py"])
    assert by_folder.spec(NAME, f"{allowed}:w:w", None) == f"{allowed}:w:w"
    assert by_file.spec(NAME, f"{allowed}:w:w", None) == f"{allowed}:w:w"
    (tmp_path / "torch.py").write_text("raise SystemError\n")
    for trust in (by_folder, by_file):
        assert refused(trust, f"{tmp_path}:allowed.w:w").place == str(tmp_path)
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "__init__.py").write_text("raise SystemError\n")
    (pack / "w.py").symlink_to(allowed / "w.py")
    catalogs = find_source("batchfront_studies.digits:sgd")
    assert catalogs is not None
    (pack / "digits.py").symlink_to(catalogs.file)
    for trust in (by_folder, by_file):
        assert refused(trust, f"{tmp_path}:pack.w:w").place == str(tmp_path)
        assert refused(trust, f"{tmp_path}:pack.digits:sgd").place == str(catalogs.file)


@pytest.mark.parametrize("has_init", [True, False])
def test_a_module_of_a_package_without_an_init_is_trusted_with_its_folder(
    allowed: Path, has_init: bool
) -> None:
    (allowed / "pack" / "below").mkdir(parents=True)
    (allowed / "w.py").rename(allowed / "pack" / "below" / "w.py")
    if has_init:
        (allowed / "pack" / "__init__.py").touch()
    spec = f"{allowed}:pack.below.w:w"
    error = refused(Trust(), spec)
    assert error.place == str(allowed)
    assert Trust.of([error.place]).spec(NAME, spec, None) == spec


@pytest.mark.parametrize("changed", ["w.py", "beside.py"])
def test_a_file_that_has_changed_is_named(allowed: Path, changed: str) -> None:
    spec, trust = f"{allowed}/w.py:w", Trust.of([str(allowed)])
    planned = checksums(spec)
    with (allowed / changed).open("a") as file:
        file.write("# changed\n")
    with pytest.raises(IdentityError, match=f"of {NAME} .* differs in {changed}$"):
        trust.spec(NAME, spec, planned)
    assert trust.spec(NAME, spec, None) == spec  # of a study from before checksums were kept


def test_a_module_that_now_hides_another_is_a_change(allowed: Path) -> None:
    (allowed / "w.py").write_text("import numpy\n")
    spec, trust = f"{allowed}/w.py:w", Trust.of([str(allowed)])
    planned = checksums(spec)
    (allowed / "numpy.py").write_text("")
    with pytest.raises(IdentityError, match=r"differs in numpy\.py"):
        trust.spec(NAME, spec, planned)


@pytest.mark.parametrize("spec", ["/home/me/w.py:w", "/home/me:pack.w:w"])
def test_the_same_code_is_found_where_else_it_lies(
    allowed: Path, tmp_path: Path, spec: str
) -> None:
    for pack in ("other/pack", "same/pack"):
        (allowed / pack).mkdir(parents=True)
        (allowed / pack / "w.py").write_text(f"# {pack[:4]}\n")
    here = f"{allowed}/same/pack/w.py:w" if ".py" in spec else f"{allowed}/same:pack.w:w"
    assert Trust.of([str(allowed)]).spec(NAME, spec, checksums(here)) == here
    assert "there is no /home/me" in str(refused(Trust.of([str(allowed)]), spec))
    shutil.rmtree(allowed / "same")
    with pytest.raises(UntrustedCode, match="copy it here, and name its folder by --code"):
        Trust.of([str(allowed)]).spec(NAME, spec, {"w.py": "0"})


@pytest.mark.parametrize(
    "spec",
    ["*.py:w", "**.py:w", "nul\0.py:w", f"{'x' * 5000}.py:w", ":../w:w", "/:x.y:z", ":", "..:x"],
)
def test_a_spec_that_no_file_can_have_is_refused_as_any_other(allowed: Path, spec: str) -> None:
    with pytest.raises(UntrustedCode):
        Trust.of([str(allowed)]).spec(NAME, spec, {"w.py": "0"})


def test_a_place_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for place in (str(tmp_path / "nowhere"), "nul\0"):
        with pytest.raises(UsageError, match="there is no such file or folder"):
            Trust.of([place])
