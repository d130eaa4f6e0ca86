"""Seeds that differ wherever anything that they are made of differs."""

from itertools import product
from zlib import crc32

from batchfront.workload.seeds import SeedStream, mix, study_seed, trial_seed


def test_every_part_and_its_place_change_the_seed() -> None:
    seeds = [mix(*parts) for parts in product(range(12), repeat=3)]
    seeds += [mix(*parts) for parts in product(range(12), repeat=2)]
    assert len(set(seeds)) == len(seeds)


def test_neighbouring_seeds_have_half_of_their_bits_in_common() -> None:
    differing = [(mix(7, n) ^ mix(7, n + 1)).bit_count() for n in range(400)]
    assert 29 < sum(differing) / len(differing) < 34
    assert min(differing) > 10


def test_seeds_are_the_same_in_every_version_of_batchfront() -> None:
    assert mix(0) == 0xE220A8397B1DCDAF >> 1  # the first output of splitmix64 seeded with 0
    assert mix(1, 2, 3) == mix(1, 2, 3)
    assert 0 <= mix(2**64 - 1, -5) < 2**63
    assert study_seed(0, "a/b/c", 2) == mix(0, crc32(b"a/b/c"), 2)


def test_studies_differ_by_seed_workload_batch_size_and_purpose_and_trials_by_number() -> None:
    seeds = [
        trial_seed(study_seed(seed, workload, batch_size, purpose), number)
        for seed in (0, 1)
        for workload in ("a/b/c", "a/b/d")
        for batch_size in (2, 4)
        for purpose in ("search", "confirm", "linear", "square-root")
        for number in range(50)
    ]
    assert len(set(seeds)) == len(seeds)


def test_the_streams_of_a_trial_are_where_they_have_always_been() -> None:
    names = [stream.name for stream in SeedStream]
    assert names == ["INITIAL_WEIGHTS", "ORDER", "STEP", "EVALUATION", "TEST"]
    assert list(SeedStream) == [0, 1, 2, 3, 4]
    trial = 12345
    assert SeedStream.INITIAL_WEIGHTS.seed(trial) == mix(trial, 0)
    assert SeedStream.ORDER.seed(trial, 7) == mix(mix(trial, 1), 7)
    assert SeedStream.STEP.seed(trial, 7) == mix(mix(trial, 2), 7)
    assert SeedStream.EVALUATION.seed(trial, 7) == mix(trial, 3, 7)
    assert SeedStream.TEST.seed(trial, 7) == mix(trial, 4, 7)
