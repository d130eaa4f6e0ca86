"""The file that a token comes from, and that nothing shows it."""

import os
from pathlib import Path

import pytest

from batchfront.errors import UsageError
from batchfront.report.web.token import Token, read_token

SECRET = "correct-horse/battery+staple=7"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.touch(0o600)
    return path


@pytest.mark.parametrize("content", [SECRET, f"{SECRET}\n", f"{SECRET}\r\n", f"\n {SECRET} \n\n"])
def test_the_token_is_the_file_s_one_line(file: Path, content: str) -> None:
    file.write_text(content)
    token = read_token(file)
    assert token.matches(SECRET)
    assert not any(map(token.matches, ["", SECRET[:-1], SECRET + " ", SECRET.upper(), "\udcff"]))
    assert not token.weak


def test_a_short_one_is_weak(file: Path) -> None:
    file.write_text("hunter2")
    assert read_token(file).weak


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n \r\n", "is empty"),
        (f"{SECRET}\nsecond".encode(), "should hold one line"),
        (f"{SECRET} second".encode(), "should hold one line"),
        (f"{SECRET}é".encode(), "should hold one line"),
        (f"{SECRET}\x00".encode(), "should hold one line"),
        (b"\xff\xfe" + SECRET.encode(), "should hold one line"),
        (SECRET.encode() * 1000, "should hold one line"),
    ],
)
def test_what_is_no_token_is_refused_without_being_shown(
    file: Path, content: bytes, said: str
) -> None:
    file.write_bytes(content)
    with pytest.raises(UsageError, match=said) as refused:
        read_token(file)
    assert str(refused.value).startswith(f"--token-file {file}: ")
    assert SECRET[:7] not in str(refused.value)
    assert "`openssl rand -hex 24`" in str(refused.value)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o660, 0o602, 0o666, 0o777])
def test_a_file_that_others_may_read_or_write_is_refused_with_what_mends_it(
    file: Path, mode: int
) -> None:
    file.write_text(SECRET)
    file.chmod(mode)
    with pytest.raises(UsageError, match="by others") as refused:
        read_token(file)
    command = str(refused.value).split("`")[1]
    assert command == f"chmod 600 {file}"
    assert os.system(command) == 0
    assert read_token(file).matches(SECRET)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize(("mode", "taken"), [(0o444, True), (0o644, True), (0o646, False)])
def test_somebody_else_s_file_is_taken_as_they_gave_it_unless_others_may_write_it(
    file: Path, mode: int, taken: bool
) -> None:
    file.write_text(SECRET)
    os.chown(file, 12345, 12345)
    file.chmod(mode)
    if taken:
        assert read_token(file).matches(SECRET)
    else:
        with pytest.raises(UsageError, match="can be written by others"):
            read_token(file)


@pytest.mark.parametrize("name", ["missing", ".", "a\0b", "loop"])
def test_a_file_that_can_t_be_read_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match="can't be read: ") as refused:
        read_token(tmp_path / name)
    assert str(refused.value).isprintable()


def test_it_is_in_no_repr_and_no_attribute_and_its_cookie_tells_nothing() -> None:
    token = Token(SECRET)
    shown = f"{token!r} {token} {vars(token)}"
    assert SECRET not in shown
    assert SECRET.encode().hex() not in shown
    assert token.cookie == Token(SECRET).cookie
    other = Token(SECRET + "x").cookie
    assert not {*token.cookie} & {*other}


def test_its_cookie_is_found_among_others() -> None:
    token = Token(SECRET)
    name, value = token.cookie
    assert token.in_cookies(f"a=b; {name}={value}; c")
    assert token.in_cookies(f"{name}=other;{name}={value}")
    for header in ("", ";", "=", name, f"{name}=", f"{name}={value}x", f"x{name}={value}"):
        assert not token.in_cookies(header)
    assert not token.in_cookies(f"{name}={SECRET}")
