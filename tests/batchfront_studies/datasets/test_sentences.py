"""Sentences and their vocabulary: what a batch holds, and that nothing else changes it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from batchfront.errors import DataError
from batchfront.workload.metrics import NO_TARGET, token_count
from batchfront_studies.datasets.sentences import Sentences, encoded
from batchfront_studies.datasets.vocabulary import BOUNDARY, Vocabulary, learnt

TEXTS = ["the cat sat on the mat .", "", "a dog", "naïve 犬 \x00 <s> ! ", "the end ." * 20]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BATCHFRONT_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def vocabulary() -> Vocabulary:
    return learnt("words", "these", lambda: TEXTS * 5, 280)


def sentences(vocabulary: Vocabulary, texts: list[str] = TEXTS, longest: int = 32) -> Sentences:
    return encoded("words", texts, lambda: texts, vocabulary, longest)


def text_of(vocabulary: Vocabulary, tokens: torch.Tensor) -> str:
    return vocabulary.decode([token for token in tokens.tolist() if token > BOUNDARY])


# Vocabulary


def test_every_text_can_be_written_and_read_again(vocabulary: Vocabulary) -> None:
    for text, tokens in zip(TEXTS, vocabulary.encode(TEXTS), strict=True):
        assert vocabulary.decode(tokens) == text
        assert all(BOUNDARY < token < len(vocabulary) for token in tokens)


def test_what_is_frequent_takes_fewer_tokens(vocabulary: Vocabulary) -> None:
    (frequent,), (rare,) = vocabulary.encode(["the end"]), vocabulary.encode(["eth dne"])
    assert len(frequent) < len(rare)


def test_it_is_no_larger_than_asked_for_and_no_larger_than_its_text_fills() -> None:
    assert len(learnt("words", 1, lambda: TEXTS * 5, 260)) == 260
    assert 257 < len(learnt("words", 1, lambda: TEXTS * 5, 32_000)) < 400


@pytest.mark.parametrize("size", [256, 65_537])
def test_a_size_that_can_not_be_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="257 to 65,536 are possible"):
        learnt("words", 1, lambda: TEXTS, size)


def test_it_is_the_same_in_every_process_and_on_every_machine(vocabulary: Vocabulary) -> None:
    # Among them many that are as frequent as others, in an order that only a rule can give.
    tokens = (vocabulary.tokenizer.id_to_token(token) for token in range(257, 280))
    assert " ".join(tokens) == (
        "he the Ġ. en Ġen Ġend at Ġthe aÃ cat do mat naÃ on sat ve ¯ve çĬ Ġ! Ġ< Ġa ĠĀ Ġcat"
    )


# Sentences


def test_a_sentence_is_predicted_token_by_token_from_its_boundary_to_its_end(
    vocabulary: Vocabulary,
) -> None:
    inputs, targets = sentences(vocabulary).batch(torch.tensor([0]))
    (tokens,) = vocabulary.encode(TEXTS[:1])
    padding = inputs.shape[1] - len(tokens) - 1
    assert inputs[0].tolist() == [BOUNDARY, *tokens, *[BOUNDARY] * padding]
    assert targets[0].tolist() == [*tokens, BOUNDARY, *[NO_TARGET] * padding]
    assert inputs.dtype == targets.dtype == torch.int64


def test_a_batch_holds_the_sentences_asked_for_in_that_order(vocabulary: Vocabulary) -> None:
    inputs, _ = sentences(vocabulary).batch(torch.tensor([3, 0, 3, 2]))
    assert [text_of(vocabulary, row) for row in inputs] == [TEXTS[i] for i in (3, 0, 3, 2)]


def test_a_batch_is_as_long_as_its_longest_up_to_a_multiple_of_8(vocabulary: Vocabulary) -> None:
    found = sentences(vocabulary)
    assert found.batch(torch.tensor([1]))[0].shape == (1, 8)
    assert found.batch(torch.tensor([1, 4]))[0].shape == (2, 32)


def test_a_batch_is_no_longer_than_a_sentence_may_be(vocabulary: Vocabulary) -> None:
    inputs, targets = sentences(vocabulary, longest=30).batch(torch.tensor([0, 4]))
    assert inputs.shape == targets.shape == (2, 30)


def test_a_long_sentence_is_cut_and_its_end_not_asked_for(vocabulary: Vocabulary) -> None:
    found = sentences(vocabulary)
    _, targets = found.batch(torch.tensor([4]))
    (tokens,) = vocabulary.encode([TEXTS[4]])
    assert targets[0].tolist() == tokens[:32]
    assert found.describe()["cut"] == 1


def test_an_empty_sentence_is_an_end_to_predict(vocabulary: Vocabulary) -> None:
    inputs, targets = sentences(vocabulary).batch(torch.tensor([1]))
    assert inputs.tolist() == [[BOUNDARY] * 8]
    assert targets.tolist() == [[BOUNDARY, *[NO_TARGET] * 7]]


def test_weights_are_what_the_targets_say_without_reading_them(vocabulary: Vocabulary) -> None:
    found = sentences(vocabulary)
    _, targets = found.batch(torch.arange(len(TEXTS)))
    assert torch.equal(found.weights(token_count), token_count(targets))
    firsts = found.weights(lambda some: some[:, 0])
    assert torch.equal(firsts, targets[:, 0])


def test_they_are_described_by_counts_and_a_checksum_of_all(vocabulary: Vocabulary) -> None:
    described = sentences(vocabulary).describe()
    assert described["examples"] == len(TEXTS)
    assert described["tokens"] == int(sentences(vocabulary).weights(token_count).sum())
    for others in (TEXTS[::-1], ["a", *TEXTS[1:]], [TEXTS[0], TEXTS[2], *TEXTS[1:2], *TEXTS[3:]]):
        assert sentences(vocabulary, others).describe()["checksum"] != described["checksum"]


def test_many_are_encoded_a_few_at_a_time(vocabulary: Vocabulary) -> None:
    ahead = 0

    def counted() -> Iterator[str]:
        nonlocal ahead
        for number in range(10_000):
            ahead = number
            yield f"the {number} ."

    class Watched(Vocabulary):
        def encode(self, texts: list[str]) -> list[list[int]]:  # type: ignore[override]
            assert ahead - int(texts[0].split()[1]) < 5_000
            return super().encode(texts)

    watched = Watched(vocabulary.tokenizer, vocabulary.digest)
    found = encoded("many", 1, counted, watched, 32)
    assert len(found) == 10_000
    inputs, _ = found.batch(torch.tensor([0, 4_095, 4_096, 9_999]))
    said = [text_of(vocabulary, row) for row in inputs]
    assert said == [f"the {number} ." for number in (0, 4_095, 4_096, 9_999)]


def test_none_at_all_are_refused(vocabulary: Vocabulary) -> None:
    with pytest.raises(DataError, match="words: there is no sentence in its files"):
        sentences(vocabulary, [])


def test_on_a_device_they_are_the_same_sentences_indexed_on_the_cpu(vocabulary: Vocabulary) -> None:
    there = sentences(vocabulary).to(torch.device("meta"))
    assert there.indexed_on == CPU
    assert there.ahead > 0 == sentences(vocabulary).ahead
    assert len(there) == len(TEXTS)
