"""Shares of a batch: every position once, in order, and no group cut."""

from itertools import chain, product

from batchfront.training.distributed.gradient import share_of


def test_every_position_is_in_one_share_and_no_quantum_is_cut() -> None:
    for batch_size, world, quantum in product((1, 2, 3, 7, 32, 100), (1, 2, 3, 8), (1, 4, 32)):
        shares = [share_of(batch_size, rank, world, quantum) for rank in range(world)]
        assert list(chain(*shares)) == list(range(batch_size))
        assert all(share.start % quantum == 0 for share in shares if share)


def test_shares_differ_by_one_quantum_at_most() -> None:
    sizes = [len(share_of(100, rank, 8, 4)) for rank in range(8)]
    assert max(sizes) - min(sizes) <= 4
