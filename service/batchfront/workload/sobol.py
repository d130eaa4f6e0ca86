"""Points of a scrambled Sobol sequence, equal to the bit to those of torch's `SobolEngine`.

Stored studies have such points, and whoever plans further ones must go on in the same sequence,
whether torch is installed or not.
"""

import numpy as np
import numpy.typing as npt

_BITS = 30  # of a coordinate; what torch computes with

_Whole = npt.NDArray[np.int64]


def scrambled_sobol(
    dimensions: int, count: int, seed: int, first: int = 0
) -> npt.NDArray[np.float64]:
    """Compute points `first .. first + count - 1` of the scrambled Sobol sequence of `seed`.

    The sequence has the direction numbers of Joe & Kuo 2008. A random lower triangular matrix over
    GF(2) for each dimension and a digital shift scramble it (Matousek 1998), which is a cheaper
    form of Owen's nested permutations (1998).

    Returns an array of shape (count, dimensions), of float64 in [0, 1].
    """
    rows, shift = _scrambling(dimensions, seed)
    points = _unscrambled(dimensions, count, first)
    scrambled = np.broadcast_to(shift, points.shape).copy()
    for bit in range(_BITS):
        scrambled ^= (points >> bit & 1) * rows[:, bit]
    found: npt.NDArray[np.float64] = scrambled / 2**_BITS
    if first == 0:  # torch has the very first point in single precision
        found[:1] = scrambled[:1].astype(np.float32) / np.float32(2**_BITS)
    return found


def _unscrambled(dimensions: int, count: int, first: int) -> _Whole:
    """Points of the plain sequence as whole numbers of `_BITS` bits: (count, dimensions)."""
    from scipy.stats import qmc  # not at the top: dimensions are read without drawing any points

    engine = qmc.Sobol(dimensions, scramble=False, bits=_BITS)
    # Point 0 is the origin. From the next one on, scipy has no say in how many are drawn.
    ahead = min(max(1 - first, 0), count)
    engine.fast_forward(max(first, 1))
    drawn = engine.random(count - ahead)
    return np.pad(np.asarray(drawn * 2**_BITS, np.int64), ((ahead, 0), (0, 0)))


def _scrambling(dimensions: int, seed: int) -> tuple[_Whole, _Whole]:
    """What scrambles a point: for each dimension, what each of its bits becomes, and the shift.

    Returns the columns of the matrices as whole numbers, by the bit that they stand for
    (dimensions, _BITS), and the shift (dimensions).
    """
    # torch seeds its Mersenne Twister with the lower half of the seed, and takes a number's last
    # bit. RandomState's streams are frozen (NEP 19).
    twister = np.random.RandomState(seed & 0xFFFFFFFF)
    drawn = twister.randint(0, 2**32, dimensions * _BITS * (1 + _BITS), np.uint32).astype(np.int64)
    bits = drawn & 1
    shift = bits[: dimensions * _BITS].reshape(dimensions, _BITS)
    matrices = np.tril(bits[dimensions * _BITS :].reshape(dimensions, _BITS, _BITS), -1)
    matrices |= np.eye(_BITS, dtype=np.int64)
    # Matrices count bits from the highest, the shift from the lowest.
    weights = 1 << np.arange(_BITS)
    columns = (matrices * weights[::-1, None]).sum(1)[:, ::-1]
    return columns, (shift * weights).sum(1)
