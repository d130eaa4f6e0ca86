"""Subword vocabularies: byte-level byte-pair encoding (Sennrich et al. 2016, Radford et al. 2019).

Learnt and applied by the library `tokenizers`. Byte-level, because then every text can be
written in it: there is no unknown word that a model would be spared to predict. Byte pairs and
not a unigram model, because they come from whole counts, and so are the same on every machine.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchfront_studies.datasets.cache import kept

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BOUNDARY = 0
"""The token before the first and after the last of a sentence. No text contains it."""

_FILE = "vocabulary.json"

_BOUNDARY_NAME = "<s>"


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Subwords, numbered from 1; BOUNDARY is 0."""

    tokenizer: "Tokenizer"
    digest: str

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, on all cores, without BOUNDARY."""
        found = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, BOUNDARY left out."""
        return self.tokenizer.decode(list(tokens)).removeprefix(" ")


def learnt(name: str, of: Any, sample: Callable[[], Iterable[str]], size: int) -> Vocabulary:
    """The vocabulary of at most `size` tokens that `sample()` teaches, learnt once and kept.

    name   -- of the data set
    of     -- what the sample is, as JSON can say it
    size   -- 257 (BOUNDARY and the bytes) to 65,536 (what two bytes can number)
    """
    if not 257 <= size <= 65_536:
        raise ValueError(f"a vocabulary of {size} tokens: 257 to 65,536 are possible")
    made_of = {"kind": "byte-level BPE", "size": size, "sample": of}
    folder = kept(f"{name}-vocabulary", made_of, lambda folder: _learn(folder, sample(), size))
    return _read(folder / _FILE)


def _learn(folder: Path, texts: Iterable[str], size: int) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    _allow_parallelism()
    tokenizer = Tokenizer(models.BPE())
    # A space before the first word: it is then the same word as inside a sentence.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[_BOUNDARY_NAME],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(folder / _FILE), pretty=False)


def _read(path: Path) -> Vocabulary:
    from tokenizers import Tokenizer

    _allow_parallelism()
    written = path.read_bytes()
    tokenizer = Tokenizer.from_str(written.decode())
    tokenizer.encode_special_tokens = True  # a text that holds the characters <s> is a text
    return Vocabulary(tokenizer, blake2b(written, digest_size=8).hexdigest())


def _allow_parallelism() -> None:
    """Say that it is meant: else the library warns on stderr of every process forked later."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
