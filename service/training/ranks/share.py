"""Which part of a batch each of several devices computes."""


def share_of(batch_size: int, rank: int, world: int, quantum: int) -> range:
    """The positions in a batch that rank `rank` of `world` takes: one after another, as evenly as
    whole multiples of `quantum`, which may not be cut, allow. Of a batch with fewer quanta than
    ranks, some take nothing.
    """
    quanta = -(-batch_size // quantum)
    start, stop = (quanta * r // world * quantum for r in (rank, rank + 1))
    return range(min(start, batch_size), min(stop, batch_size))
