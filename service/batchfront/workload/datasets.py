"""Map-style data sets of torch's as examples: drawn from seed and index alone, decoded by several
processes, and kept where there is room."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
)

from batchfront.errors import BatchfrontError, WorkloadError
from batchfront.phrases import first_few
from batchfront.workload.data import Batch, Examples, Split
from batchfront.workload.dataset_identity import describe_dataset, file_of
from batchfront.workload.decoding import (
    CAN_FORK,
    Decoders,
    Packed,
    memory_here,
    packed,
    sharing,
    unpacked,
    usual_processes,
)
from batchfront.workload.nested import Nested, describe_nested, join_rows, map_tensors, tensors_in
from batchfront.workload.seeds import mix
from batchfront.workload.user_error import error_in

Cache = bool | Literal["auto"]

_CPU = torch.device("cpu")

_SHARE = 8  # of the machine's memory, for one split of all workers: 1 of so many parts

_PIECE = 32  # examples that a process decodes at once, at most

_AHEAD = 2  # micro-batches, each of which all processes decode together

_UNKNOWN, _DRAWN, _FIXED = range(
    3
)  # what is kept of an example: of no draw, without a seed, or any


def examples_of(
    dataset: Any,
    collate: Callable[[list[Any]], Any] | None = None,
    augment: Callable[[Any], Any] | None = None,
    cache: Cache = "auto",
    processes: int | None = None,
) -> Examples:
    """See `Examples.of`."""
    if isinstance(dataset, DataLoader):
        collate = _collate_of(dataset) if collate is None else collate
        dataset = dataset.dataset
    refuse_unindexed(dataset)
    plain = collate is None and augment is None and cache == "auto" and processes is None
    if plain and type(dataset) is TensorDataset:
        tensors = dataset.tensors
        return Split(*tensors) if len(tensors) == 2 else Split(list(tensors))
    if cache not in (True, False, "auto"):
        raise WorkloadError(
            f"Examples.of(cache=...) must be True, False or 'auto'; found {cache!r}"
        )
    if processes is not None and (not isinstance(processes, int) or processes < 0):
        raise WorkloadError(
            f"Examples.of(processes=...) must be 0 or a whole number above it; found {processes!r}"
        )
    source = Source(dataset, collate, augment)
    count = usual_processes() if processes is None else processes * CAN_FORK
    decoders = Decoders(source.draw, count) if count else None
    return DatasetExamples(source, decoders, Store.of(source, cache), _CPU)


def refuse_unindexed(dataset: Any) -> None:
    """Raise WorkloadError for what doesn't give an example at an index, with what to write."""
    name = type(dataset).__name__
    if isinstance(dataset, IterableDataset):
        raise WorkloadError(
            f"{name} is an IterableDataset: it has no example at an index, so no step could be "
            "done again, and no trial resumed; give Examples.of(...) a data set with __len__ and "
            "__getitem__, such as list(dataset) where it fits into memory, or a Stream of tokens"
        )
    indexed = hasattr(type(dataset), "__getitem__") and hasattr(type(dataset), "__len__")
    if not indexed or isinstance(dataset, dict | str | bytes | type):
        raise WorkloadError(
            "a data set needs __len__ and __getitem__, as torch's map-style ones have them; "
            f"found {name}"
        )
    if not _length(dataset):
        raise WorkloadError(f"the data set ({name}) has no examples")


def _length(dataset: Any) -> int:
    try:
        return len(dataset)
    except Exception as error:
        raise WorkloadError(
            f"the length of the data set ({type(dataset).__name__}) can't be had: {error_in(error)}"
        ) from error


def _collate_of(loader: DataLoader[Any]) -> Callable[[list[Any]], Any] | None:
    """A loader's collate function; None: torch's own.

    Raises WorkloadError where it does something that a trial wouldn't.
    """
    if isinstance(loader.dataset, IterableDataset):
        return None  # which is refused as what it is
    sampler, batches = loader.sampler, loader.batch_sampler
    other = None
    if type(batches) is not BatchSampler:
        other = "batch_size=None" if batches is None else f"batch_sampler ({_name(batches)})"
    elif type(sampler) not in (RandomSampler, SequentialSampler) or (
        getattr(sampler, "replacement", False) or len(sampler) != _length(loader.dataset)  # type: ignore[arg-type]
    ):
        other = f"sampler ({_name(sampler)})"
    elif loader.worker_init_fn is not None:
        other = "worker_init_fn"
    if other is not None:
        raise WorkloadError(
            f"a DataLoader's {other} isn't used, as the trial says which examples a step trains "
            "on, and seeds what they draw: where epochs in random order will do, give "
            "Examples.of(loader.dataset, collate=...)"
        )
    return None if loader.collate_fn is default_collate else loader.collate_fn


def _name(value: object) -> str:
    return type(value).__name__


class Piece(NamedTuple):
    """Examples that are asked for together.

    told -- whether to say which of them were drawn at random
    raw  -- whether to give them as the data set does, neither augmented nor collated
    """

    indices: list[int]
    seed: int | None
    told: bool = False
    raw: bool = False


class Drawn(NamedTuple):
    """What has come of a piece.

    found     -- the examples, or where torch collates them their batch
    at_random -- for each, whether it has drawn, where that was asked
    """

    found: Any
    at_random: list[bool]


class Source:
    """Makes a data set's examples, each from its index and a seed alone.

    Before the example at `index` is asked for, torch's, NumPy's (modulo 2**32) and Python's global
    generators are seeded with `mix(seed, index)`, or without a seed with `mix(index)`; and with
    `mix(seed, index, 1)` before it is augmented.
    """

    def __init__(
        self,
        dataset: Any,
        collate: Callable[[list[Any]], Any] | None,
        augment: Callable[[Any], Any] | None,
    ) -> None:
        self.dataset, self.collate, self.augment = dataset, collate, augment
        self.length = _length(dataset)
        self.name = type(dataset).__name__
        self.together = collate is None and augment is None  # its batches are its examples' rows

    def draw(self, piece: Piece) -> Drawn:
        """The examples of a piece, and where torch collates them their batch. The global generators
        are nobody else's meanwhile, and left anywhere."""
        found, at_random = [], []
        with torch.inference_mode(False):
            for index in piece.indices:
                example, drawn = self._example(index, piece.seed, told=piece.told)
                found.append(example if piece.raw else self.augmented(example, index, piece.seed))
                at_random.append(drawn)
            if self.collate is None and not piece.raw:
                return Drawn(self.collated(found), at_random)
        return Drawn(found, at_random)

    def _example(self, index: int, seed: int | None, *, told: bool) -> tuple[Any, bool]:
        _seed_all(mix(index) if seed is None else mix(seed, index))
        before = _states() if told else None
        try:
            example = self.dataset[index]
        except BatchfrontError:
            raise
        except (Exception, SystemExit) as error:
            file = file_of(self.dataset, index)
            raise WorkloadError(
                f"example {index:,} of the data set ({self.name}{f', {file}' if file else ''}) "
                f"can't be read: {error_in(error)}"
            ) from error
        return example, before is not None and _states() != before

    def augmented(self, example: Any, index: int, seed: int | None) -> Any:
        """The example as `augment` makes it for this seed."""
        if seed is None or self.augment is None:
            return example
        _seed_all(mix(seed, index, 1))
        pair = isinstance(example, tuple | list) and len(example) == 2
        try:
            if pair:
                return (self.augment(_copied(example[0])), example[1])
            return self.augment(_copied(example))
        except (Exception, SystemExit) as error:
            raise WorkloadError(
                f"augment fails for example {index:,} of the data set ({self.name}): "
                f"{error_in(error)}"
            ) from error

    def collated(self, examples: list[Any]) -> Any:
        """The batch of these examples."""
        try:
            return (self.collate or default_collate)(examples)
        except BatchfrontError:
            raise
        except Exception as error:
            if self.collate is not None:
                said = f"collate fails: {error_in(error)}"
            else:
                said = (
                    f"torch's default_collate makes no batch of {_in_words(examples)}; have the "
                    "data set give tensors of one shape (its transform: ToTensor(), Resize(...)), "
                    "or give Examples.of(..., collate=...)"
                )
            raise WorkloadError(f"the data set ({self.name}): {said}") from error


def _copied(example: Any) -> Any:
    """The same, whose tensors and arrays may be changed in place: a data set that lies in memory
    gives those that it holds."""
    copies = lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf.copy()  # noqa: E731
    return pytree.tree_map_only((Tensor, np.ndarray), copies, example)


def _in_words(examples: list[Any]) -> str:
    """What examples are, the first of all and the first that is unlike it."""
    said: list[str] = []
    for example in examples:
        parts = [_leaf(leaf) for leaf in pytree.tree_leaves(example)]
        words = f"({first_few(parts, 4)})" if len(parts) > 1 else "".join(parts)
        if words not in said:
            said.append(words)
    return "examples of " + " and ".join(said[:2])


def _leaf(leaf: Any) -> str:
    if isinstance(leaf, Tensor):
        return describe_nested(leaf)
    if isinstance(leaf, np.ndarray):
        return f"{leaf.dtype} {leaf.shape}"
    return type(leaf).__name__


def _seed_all(seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _states() -> tuple[Any, ...]:
    numpys: Any = np.random.get_state()
    torchs = torch.default_generator.get_state().numpy().tobytes()
    return torchs, numpys[1].tobytes(), numpys[2:], random.getstate()


@contextmanager
def _generators_kept() -> Iterator[None]:
    """Put the global generators back to where they were: they are a model's, or anybody's."""
    torchs = torch.default_generator.get_state()
    numpys, pythons = np.random.get_state(legacy=False), random.getstate()
    try:
        yield
    finally:
        torch.default_generator.set_state(torchs)
        np.random.set_state(numpys)
        random.setstate(pythons)


class Store:
    """What has been decoded of a split, in this process: rows of tensors, or examples as bytes
    where they are augmented or collated anew each time."""

    def __init__(self, source: Source) -> None:
        self._source, self._lock = source, Lock()
        self._state = torch.zeros(source.length, dtype=torch.uint8)
        self._rows: Nested = None
        self._examples: list[Packed | None] = []

    @classmethod
    def of(cls, source: Source, cache: Cache) -> "tuple[Store | None, bool]":
        """A store where examples are to be kept; and whether a few of them were drawn at random."""
        if cache is False:
            return None, True
        few = sorted({0, source.length // 2, source.length - 1})
        with _generators_kept():
            drawn = source.draw(Piece(few, 0, told=True, raw=True))
        size = max(packed(example).nbytes for example in drawn.found) * source.length
        fits = cache is True or size <= memory_here() / _SHARE / sharing()
        return (cls(source) if fits else None), any(drawn.at_random)

    def lacks(self, indices: Tensor, seed: int | None) -> list[int]:
        """Those of these of which nothing is kept that this seed could use."""
        least = _DRAWN if seed is None else _FIXED
        missing: list[int] = indices[self._state[indices] < least].tolist()
        return sorted(set(missing))

    def keep(self, indices: list[int], drawn: Drawn, seed: int | None) -> None:
        """Keep what was drawn of these, but for what another seed would have drawn otherwise."""
        at_random = torch.tensor(drawn.at_random)
        chosen = torch.arange(len(indices)) if seed is None else (~at_random).nonzero().flatten()
        where = torch.tensor(indices)[chosen]
        with self._lock, torch.inference_mode(False):
            if self._source.together:
                self._keep_rows(drawn.found, chosen, where)
            else:
                self._examples = self._examples or [None] * self._source.length
                for row, index in zip(chosen.tolist(), where.tolist(), strict=True):
                    self._examples[index] = packed(drawn.found[row])
            states = torch.where(at_random[chosen], _DRAWN, _FIXED).to(torch.uint8)
            self._state[where] = states

    def _keep_rows(self, batch: Nested, chosen: Tensor, where: Tensor) -> None:
        if self._rows is None:
            length = self._source.length
            self._rows = map_tensors(lambda t: t.new_empty((length, *t.shape[1:])), batch)
        if _kinds(self._rows) != _kinds(batch):
            raise _uneven(self._source.name, [self._rows, batch])
        for rows, found in zip(tensors_in(self._rows), tensors_in(batch), strict=True):
            rows[where] = found[chosen]

    def rows(self, indices: Tensor) -> Nested:
        """The batch of these, all of which are kept."""
        return map_tensors(lambda t: t.index_select(0, indices), self._rows)

    def examples(self, indices: list[int]) -> list[Any]:
        """These, all of which are kept."""
        kept = [self._examples[index] for index in indices]
        return [unpacked(one) for one in kept if one is not None]


class DatasetExamples(Examples):
    """The examples of a map-style data set of torch's: what `Examples.of` gives.

    Each is drawn with all global generators seeded by the trial's seed and its index (`Source`), so
    that order, company, thread and process don't matter; evaluation, which has no seed, finds the
    same one each time. What draws from generators of its own that no seed sets
    (`numpy.random.default_rng()`) is refused before the first slot.
    """

    def __init__(
        self,
        source: Source,
        decoders: Decoders | None,
        kept: tuple[Store | None, bool],
        device: torch.device,
    ) -> None:
        self._source, self._decoders, self._device = source, decoders, device
        self._kept, self._store = kept, kept[0]
        still = self._store is not None and not kept[1]  # decoded once, whatever the seed
        self.ahead = _AHEAD if decoders is not None and not still else 0

    @property
    def indexed_on(self) -> torch.device:
        return _CPU

    @property
    def collates(self) -> bool:
        """Whether a function of the user's makes the batches: it runs where they are asked for."""
        return self._source.collate is not None

    def __len__(self) -> int:
        return self._source.length

    def to(self, device: torch.device) -> "DatasetExamples":
        return DatasetExamples(self._source, self._decoders, self._kept, device)

    def decoded_anew(self) -> "DatasetExamples":
        again = DatasetExamples(self._source, self._decoders, (None, True), self._device)
        again.ahead = self.ahead
        return again

    def describe(self) -> dict[str, Any]:
        """How many examples, and what tells them from others without decoding them: see
        `describe_dataset`."""
        source = self._source
        with _generators_kept():
            return describe_dataset(
                source.dataset, source.collate, source.augment, self._contents_of
            )

    def _contents_of(self, indices: list[int]) -> list[Any]:
        found: list[Any] = self._source.draw(Piece(indices, None, raw=True)).found
        return found

    def batch(self, indices: Tensor, seed: int | None = None) -> Batch:
        # What is kept is augmented here, by generators that threads would share: where some load
        # ahead, it is left to the processes.
        store = self._store if seed is None or not self.ahead else None
        with torch.inference_mode(False):
            found = (
                self._decoded(indices, seed) if store is None else self._of(store, indices, seed)
            )
            return Batch.of(found).map(self._moved)

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor if tensor.device == self._device else tensor.to(self._device)

    def _of(self, store: Store, indices: Tensor, seed: int | None) -> Any:
        source = self._source
        missing = store.lacks(indices, seed)
        if missing:
            piece = Piece(missing, seed, told=True, raw=not source.together)
            store.keep(missing, self._drawn(piece), seed)
            if store.lacks(indices, seed):  # some are drawn at random, though those tried weren't
                return self._decoded(indices, seed)
        if source.together:
            return store.rows(indices)
        with _generators_kept():
            wanted = indices.tolist()
            each = zip(store.examples(wanted), wanted, strict=True)
            examples = [source.augmented(example, index, seed) for example, index in each]
        return source.collated(examples)

    def _decoded(self, indices: Tensor, seed: int | None) -> Any:
        """The batch, from the data set."""
        found = self._drawn(Piece(indices.tolist(), seed)).found
        return found if self._source.collate is None else self._source.collated(found)

    def _drawn(self, piece: Piece) -> Drawn:
        """What comes of a piece, which several processes share where there are any."""
        if self._decoders is None:
            with _generators_kept():
                return self._source.draw(piece)
        count = len(piece.indices)
        size = min(max(-(-count // self._decoders.count), 1), _PIECE)
        starts = range(0, count, size)
        parts = [piece._replace(indices=piece.indices[start : start + size]) for start in starts]
        drawn: list[Drawn] = self._decoders(parts)
        at_random = [one for part in drawn for one in part.at_random]
        if piece.raw or self._source.collate is not None:
            return Drawn([one for part in drawn for one in part.found], at_random)
        return Drawn(self._joined([part.found for part in drawn]), at_random)

    def _joined(self, parts: Sequence[Nested]) -> Nested:
        if len({tuple(_kinds(part)) for part in parts}) > 1:
            raise _uneven(self._source.name, parts)
        return parts[0] if len(parts) == 1 else join_rows(parts)


def _kinds(batch: Nested) -> list[tuple[torch.dtype, torch.Size]]:
    """The type and shape of an example's tensors."""
    return [(tensor.dtype, tensor.shape[1:]) for tensor in tensors_in(batch)]


def _uneven(name: str, batches: Sequence[Nested]) -> WorkloadError:
    kinds = {
        f"{str(kind).removeprefix('torch.')} {tuple(shape)}": None
        for batch in batches
        for kind, shape in _kinds(batch)
    }
    return WorkloadError(
        f"the data set ({name}) gives examples of different types or shapes, "
        f"{first_few(list(kinds), 4)}: bring them to one (Resize(...), in its transform), or give "
        "Examples.of(..., collate=...), which pads them"
    )
