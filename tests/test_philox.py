"""Philox, its counter layout, and the numbers that are made of its words."""

from types import ModuleType

import numpy as np
import pytest
import tolerances
from compiled import opened
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import ndtr

from fastaimc.kernels import philox as kernels
from fastaimc.reference import philox as reference

TWINS = pytest.mark.parametrize("twin", [reference, kernels], ids=["reference", "kernels"])

# Random123 1.14, tests/kat_vectors, "philox4x32 10": counter, key, words.
KNOWN_ANSWERS = [
    (
        (0x00000000, 0x00000000, 0x00000000, 0x00000000),
        (0x00000000, 0x00000000),
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
PURPOSES = {
    "PULSE": 1,
    "SET_SPREAD": 2,
    "CENTRE_SPREAD": 3,
    "WIDTH_SPREAD": 4,
    "DRIFT": 5,
    "WRITE": 6,
    "MVM_NOISE": 7,
    "ROW_NOISE": 8,
    "ADC_GAIN": 9,
    "ADC_OFFSET": 10,
    "ADC_BOW": 11,
    "ADC_SHAPE": 12,
    "INPUTS": 13,
    "SIGNS": 14,
    "PERMUTATION": 15,
    "SLOW_NOISE": 16,
    "FAULT": 17,
    "FAULT_VALUE": 18,
    "ADC_DEAD_TIME": 19,
    "DECADES_SPREAD": 20,
    "JITTER_SPREAD": 21,
    "FLOOR_SPREAD": 22,
    "ONSET_SPREAD": 23,
    "READ_NOISE_SPREAD": 24,
    "STEP_SPREAD": 25,
    "INCREMENT": 26,
}
# Of seed 0, row 3, column 5, step 7, tile 1, PULSE, block 1.
RECORDED_WORDS = (0x5CE0428F, 0xB7D9B5AC, 0xAF2152D1, 0xA54380E4)
RECORDED_NORMALS = (0.35099265, -0.778402984, -0.899841785, -1.05566227)
KEY = np.random.SeedSequence(0).generate_state(2, np.uint32)
TOP_BIT = np.uint32(0x80000000)

word = st.integers(0, 2**32 - 1)
words = st.tuples(word, word, word, word)


def some_words(n: int, *, key: np.ndarray = KEY, step: int = 0) -> np.ndarray:
    """Words of the cells of n/4 rows of one column each, (n/4, 4)."""
    counters = np.zeros((n // 4, 4), np.uint32)
    counters[:, 0] = np.arange(n // 4)
    counters[:, 1] = step
    return kernels.words(counters, key)


def edge_words() -> np.ndarray:
    """Words over the whole range, and each of the first and last of both signs."""
    edge = np.arange(100_000, dtype=np.uint32)
    grid = np.arange(0, 2**32, 4999, dtype=np.uint64).astype(np.uint32)
    low = np.concatenate([edge, np.uint32(0x7FFFFFFF) - edge])
    return np.concatenate([low, low | TOP_BIT, grid])


# --- words ------------------------------------------------------------------------------------


@pytest.mark.nojit
@TWINS
@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_known_answers(
    twin: ModuleType, counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    found = twin.words(np.array([counter], np.uint32), np.array(key, np.uint32))
    assert found.dtype == np.uint32
    assert tuple(found[0]) == expected


@pytest.mark.nojit
@given(counters=st.lists(words, min_size=0, max_size=20), key=st.tuples(word, word))
def test_twins_give_the_same_words(counters: list[tuple[int, ...]], key: tuple[int, ...]) -> None:
    counters_ = np.array(counters, np.uint32).reshape(-1, 4)
    key_ = np.array(key, np.uint32)
    found = kernels.words(counters_, key_)
    assert found.dtype == np.uint32
    np.testing.assert_array_equal(found, reference.words(counters_, key_))


@pytest.mark.nojit
def test_reference_broadcasts() -> None:
    rows, columns = np.arange(3)[:, None], np.arange(5)
    c0 = reference.cell(rows, columns)
    w0, *_ = reference.philox(c0, 7, 1, 2, *KEY)
    assert w0.shape == (3, 5)
    one = reference.words(np.array([[c0[2, 4], 7, 1, 2]], np.uint32), KEY)
    assert w0[2, 4] == one[0, 0]


# --- the counter layout, fixed for ever ---------------------------------------------------------


LAYOUTS = {
    reference: (reference.cell, reference.counter3),
    kernels: (opened(kernels.cell), opened(kernels.counter3)),
}


@pytest.mark.nojit
@TWINS
def test_purposes(twin: ModuleType) -> None:
    found = {name: getattr(twin, name) for name in vars(twin) if name.isupper() and name[0] != "_"}
    assert found == PURPOSES  # both twins, no other, none twice
    assert len(set(found.values())) == len(found)
    assert max(found.values()) < 256


@pytest.mark.nojit
def test_purposes_of_the_kernels_are_typed() -> None:
    assert all(type(getattr(kernels, name)) is np.uint32 for name in PURPOSES)


@pytest.mark.nojit
@TWINS
def test_recorded_layout(twin: ModuleType) -> None:
    cell, counter3 = LAYOUTS[twin]
    assert cell(0, 0) == 0
    assert cell(3, 5) == 196_613
    assert cell(65_535, 65_535) == 0xFFFFFFFF
    assert counter3(twin.WRITE, 1, 2) == 0x0002_01_06
    assert counter3(twin.PERMUTATION, 255, 65_535) == 0xFFFF_FF_0F


@pytest.mark.nojit
@TWINS
def test_recorded_draws(twin: ModuleType) -> None:
    assert tuple(KEY) == (2968811710, 3677149159)
    cell, counter3 = LAYOUTS[twin]
    counter = [cell(3, 5), 7, 1, counter3(twin.PULSE, 1, 0)]
    found = twin.words(np.array([counter], np.uint32), KEY)[0]
    assert tuple(found) == RECORDED_WORDS
    np.testing.assert_allclose(
        twin.normals(found), RECORDED_NORMALS, rtol=tolerances.NORMAL_RELATIVE
    )


@pytest.mark.nojit
@given(
    row=st.integers(0, 65_535),
    column=st.integers(0, 65_535),
    purpose=st.integers(0, 255),
    block=st.integers(0, 255),
    number_high=st.integers(0, 65_535),
)
def test_layout_keeps_every_field_apart(
    row: int, column: int, purpose: int, block: int, number_high: int
) -> None:
    for cell, counter3 in LAYOUTS.values():
        assert divmod(int(cell(row, column)), 65_536) == (row, column)
        c3 = int(counter3(np.uint32(purpose), block, number_high))
        assert (c3 & 255, c3 >> 8 & 255, c3 >> 16) == (purpose, block, number_high)


# --- uniform ------------------------------------------------------------------------------------


uniform = opened(kernels.uniform)


@pytest.mark.nojit
@given(word=word)
def test_uniform_is_exact(word: int) -> None:
    u = uniform(np.uint32(word))
    assert u == reference.uniform(word) == ((word >> 9) + 0.5) / 2**23
    assert 0 < u < 1


@pytest.mark.nojit
def test_uniform_keeps_off_both_ends() -> None:
    ends = reference.uniform([0, 2**32 - 1])
    assert ends.dtype == np.float32
    assert ends.tolist() == [2.0**-24, 1 - 2.0**-24]
    assert uniform(np.uint32(2**32 - 1)) == ends[1]


# --- normal -------------------------------------------------------------------------------------


def test_reference_normal_inverts_the_distribution() -> None:
    words = edge_words()
    z = reference.normal(words)
    p = ((words & ~TOP_BIT) + 0.5) / 2**31
    assert z.dtype == np.float32
    # z is rounded to EPS, and d log(tail) / d log z = -z·phi(z)/tail is at most z² + 1 = 41.2.
    np.testing.assert_allclose(2 * ndtr(-np.abs(z.astype(float))), p, rtol=42 * tolerances.EPS)
    np.testing.assert_array_equal(np.signbit(z), words >= TOP_BIT)


def test_kernel_normal_against_the_reference() -> None:
    words = edge_words()
    z = kernels.normals(words)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z, reference.normals(words), rtol=tolerances.NORMAL_RELATIVE)


@pytest.mark.nojit
@given(word=word)
def test_kernel_normal_of_a_word(word: int) -> None:
    z, mirrored = kernels.normals(np.uint32([word, word ^ TOP_BIT]))
    assert z == pytest.approx(float(reference.normal(word)), rel=tolerances.NORMAL_RELATIVE)
    assert mirrored == -z


@pytest.mark.nojit
@TWINS
def test_normal_reaches_the_far_tail(twin: ModuleType) -> None:
    z = twin.normals(np.array([0, 0x80000000, 0x7FFFFFFF], np.uint32))
    exact = [6.337957754, -6.337957754, 2.0**-32 * np.sqrt(np.pi / 2)]
    np.testing.assert_allclose(z, exact, rtol=tolerances.NORMAL_RELATIVE)


def test_moments_and_distribution_of_normals() -> None:
    n = 4_000_000
    z = kernels.normals(some_words(n).ravel()).astype(float)
    # Standard errors of the mean of z^k: sqrt(var(z^k)/n), with var 1, 2, 15, 96.
    for k, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(z**k) - mean) < tolerances.SIGMAS * np.sqrt(variance / n)
    assert stats.kstest(z, "norm").pvalue > 1e-6


@pytest.mark.parametrize("limit", [3.0, 4.0, 5.0])
def test_tail_of_normals(limit: float) -> None:
    n = 4_000_000
    expected = 2 * ndtr(-limit) * n
    found = np.count_nonzero(np.abs(kernels.normals(some_words(n).ravel())) > limit)
    assert abs(found - expected) < tolerances.SIGMAS * np.sqrt(expected)


def test_normals_are_independent() -> None:
    n = 1_000_000
    z = kernels.normals(some_words(4 * n).ravel()).reshape(n, 4)
    other_key = kernels.normals(some_words(n, key=KEY ^ np.uint32(1)).ravel())
    next_step = kernels.normals(some_words(n, step=1).ravel())
    this_step = kernels.normals(some_words(n).ravel())
    pairs = [(z[:, i], z[:, j]) for i in range(4) for j in range(i)]
    pairs += [(z[1:, i], z[:-1, i]) for i in range(4)]  # neighbouring cells
    pairs += [(this_step, next_step), (this_step, other_key)]
    for a, b in pairs:
        for x, y in ((a, b), (a * a, b * b), (np.abs(a), b)):
            assert abs(np.corrcoef(x, y)[0, 1]) < tolerances.SIGMAS / np.sqrt(x.size)
