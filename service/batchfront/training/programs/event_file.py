"""Reads the scalars of a TensorBoard event file while it is written, without TensorBoard.

An event file is a TFRecord file: for each record its length (8 bytes, little-endian), a checksum
of that, the record, a checksum of it. A record is an `Event` of tensorflow/core/util/event.proto,
in the encoding of protocol buffers; of it only the step and the summary's scalars are read.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from batchfront.errors import ProgramError

_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_LONGEST_CHECKED = 4096
"""Bytes of a record whose checksum is compared: those of scalars have a hundred, and images take
long in Python."""

# Fields of the messages, by number.
_EVENT_STEP, _EVENT_SUMMARY, _SUMMARY_VALUE = 2, 5, 1
_VALUE_TAG, _VALUE_SIMPLE, _VALUE_TENSOR = 1, 2, 8
_TENSOR_DTYPE, _TENSOR_SHAPE, _TENSOR_CONTENT = 1, 2, 4
_DTYPES = {1: "f", 2: "d", 3: "i", 9: "q", 19: "e"}
"""Data types of tensors that can be scalars, by number: their format in `struct`."""
_SHORT = {"f": np.float32, "e": np.float16}
"""Those that hold less than a Python float."""
_TYPED_FIELDS = {5: "f", 6: "d", 7: "i", 10: "q"}
"""Fields of a tensor that hold its values where its content doesn't."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Scalar(NamedTuple):
    """One value that was logged."""

    step: int
    tag: str
    value: float


class EventFile:
    """An event file that grows."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0

    def poll(self) -> Iterator[Scalar]:
        """The scalars that have come since the last call, in whole records.

        Raises ProgramError if the file is damaged.
        """
        with self._path.open("rb") as file:
            file.seek(self._read)
            new = memoryview(file.read())
        at = 0
        while (end := self._end_of_record(new, at)) is not None:
            record = new[at + _HEADER.size : end - _CHECKSUM.size]
            self._read += end - at
            at = end
            yield from _scalars(record)

    def _end_of_record(self, data: memoryview, at: int) -> int | None:
        """Where a record ends, its checksums compared; None if not all of it is there."""
        if at + _HEADER.size > len(data):
            return None
        length, checksum = _HEADER.unpack_from(data, at)
        if checksum != _masked_crc(data[at : at + 8]):
            raise self._damaged(at)
        end = at + _HEADER.size + int(length) + _CHECKSUM.size
        if end > len(data):
            return None
        if length <= _LONGEST_CHECKED:
            record = data[at + _HEADER.size : end - _CHECKSUM.size]
            if _CHECKSUM.unpack_from(data, end - _CHECKSUM.size)[0] != _masked_crc(record):
                raise self._damaged(at)
        return end

    def _damaged(self, at: int) -> ProgramError:
        return ProgramError(f"{self._path} is no event file, or damaged at byte {self._read + at}")


def _scalars(record: memoryview) -> Iterator[Scalar]:
    step, summaries = 0, []
    for number, said in _fields(record):
        if number == _EVENT_STEP and isinstance(said, int):
            step = said
        elif number == _EVENT_SUMMARY and isinstance(said, memoryview):
            summaries.append(said)
    for summary in summaries:
        for number, value in _fields(summary):
            if number == _SUMMARY_VALUE and isinstance(value, memoryview):
                tag, scalar = _value(value)
                if scalar is not None:
                    yield Scalar(step, tag, scalar)


def _value(message: memoryview) -> tuple[str, float | None]:
    """The tag of a summary's value, and what it is if it is a scalar."""
    tag, scalar = "", None
    for number, said in _fields(message):
        if not isinstance(said, memoryview):
            continue
        if number == _VALUE_TAG:
            tag = bytes(said).decode(errors="replace")
        elif number == _VALUE_SIMPLE and len(said) == 4:
            scalar = _as_logged(struct.unpack("<f", said)[0], "f")
        elif number == _VALUE_TENSOR:
            scalar = _tensor(said)
    return tag, scalar


def _tensor(message: memoryview) -> float | None:
    """The one number that a tensor holds; None for any other tensor."""
    dtype, content, numbers, has_shape = 0, memoryview(b""), list[float](), False
    for number, said in _fields(message):
        if number == _TENSOR_DTYPE and isinstance(said, int):
            dtype = said
        elif number == _TENSOR_SHAPE and isinstance(said, memoryview):
            has_shape = any(field == 2 for field, _ in _fields(said))
        elif number == _TENSOR_CONTENT and isinstance(said, memoryview):
            content = said
        elif number in _TYPED_FIELDS:
            numbers += _numbers(said, _TYPED_FIELDS[number])
    if has_shape or dtype not in _DTYPES:
        return None
    if content:
        numbers = [n for (n,) in struct.iter_unpack(f"<{_DTYPES[dtype]}", content)]
    return _as_logged(numbers[0], _DTYPES[dtype]) if len(numbers) == 1 else None


def _as_logged(number: float, code: str) -> float:
    """The shortest decimal number that is kept so: an error rate of 0.03 is kept as the float32
    0.0299999993, which would be below a goal of 0.03."""
    return float(str(_SHORT[code](number))) if code in _SHORT else float(number)


def _numbers(said: "int | memoryview", code: str) -> list[float]:
    """The numbers of a repeated field, packed or not."""
    if isinstance(said, int):
        return [said]
    if code in "iq":
        numbers, at = [], 0
        while at < len(said):
            number, at = _varint(said, at)
            numbers.append(float(number))
        return numbers
    return [number for (number,) in struct.iter_unpack(f"<{code}", said)]


def _fields(message: memoryview) -> Iterator[tuple[int, "int | memoryview"]]:
    """The fields of a message: number, and value of a varint or the bytes of any other."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, at = _varint(message, at)
        else:
            length = {_FIXED64: 8, _FIXED32: 4}.get(kind, len(message))
        yield key >> 3, message[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A whole number of 64 bits with its sign, and where it ends."""
    value = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return value - (1 << 64) if value >= 1 << 63 else value, at


def _masked_crc(data: memoryview) -> int:
    """The checksum of a TFRecord: CRC-32C, rotated, with a constant added."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_CRC = _crc_table()
