"""Input ranges from what layers get: sizes of inputs are counted while the digital model runs."""

from __future__ import annotations

import math

import numpy as np

from fastaimc.config import CoreConfig
from fastaimc.errors import InputError
from fastaimc.vectors import pieces

BINS = 1 << 15  # exponent and seven bits of the significand of a float32 without sign
SHIFT = 16  # bits of it that a bin leaves out
FAR = 2.0**40  # a range out of reach; a power of two, so that no input is rounded


class Magnitudes:
    """How often which |x| was seen, in bins of 1/128: of any number of inputs in 256 KB.

    Attributes
    ----------
    counts : ndarray
        Of each bin, (32768,), int64.
    largest : float
        The largest |x|, 0 if nothing was seen.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, dtype=np.int64)
        self.largest = 0.0

    def add(self, x: np.ndarray) -> None:
        """Count finite float32 inputs of any shape."""
        if x.size:
            size = np.abs(x).reshape(-1)
            self.largest = max(self.largest, float(size.max()))
            self.counts += np.bincount(size.view(np.uint32) >> SHIFT, minlength=BINS)

    def quantile(self, fraction: float) -> float:
        """Return the upper edge of the bin of that quantile, or the largest if it is less."""
        rank = max(1, math.ceil(fraction * int(self.counts.sum())))
        index = int(np.searchsorted(np.cumsum(self.counts), rank))
        edge = np.array([(index + 1) << SHIFT], dtype=np.uint32).view(np.float32)[0]
        return min(float(edge), self.largest)


class Recorder:
    """The digital stand-in of a matrix until it is programmed: multiplies and counts its inputs.

    Parameters
    ----------
    name : str
        Of the matrix, for messages.
    weights : ndarray
        (out, in), float32.
    """

    def __init__(self, name: str, weights: np.ndarray) -> None:
        self.name = name
        self.weights = weights
        self.seen = Magnitudes()

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self.weights.shape[0], self.weights.shape[1]

    def mvm(self, x: np.ndarray) -> np.ndarray:
        """Return the digital product of inputs (..., in), (..., out)."""
        if x.shape[-1] != self.shape[1]:
            raise InputError(f"x must be (..., {self.shape[1]}), got shape {x.shape}")
        if not np.isfinite(x).all():
            raise InputError(f"calibration must be finite, got NaN or inf in {self.name!r}")
        self.seen.add(x)
        product: np.ndarray = x @ self.weights.T
        return product

    def windows(self, images: np.ndarray, bases: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Return the digital products of windows; see `AnalogMatrix.windows`."""
        out = np.empty((len(images) * len(bases), self.shape[0]), dtype=np.float32)
        for some, part, own in pieces(len(images), len(bases), len(offsets)):
            x = images[some][:, bases[part, None] + offsets]
            out[own] = self.mvm(x.reshape(-1, len(offsets)))
        return out

    def input_range(self, quantile: float) -> float:
        """Return the range that its inputs ask for; 1 if all of them were zero."""
        return self.seen.quantile(quantile) or 1.0


def range_is_free(config: CoreConfig) -> bool:
    """Whether an input range does nothing but saturate: where both converters are ideal."""
    adc = config.adc
    errors = (adc.offset_std, adc.inl_std, adc.noise_std, adc.dead_time, adc.dead_time_std)
    return config.dac.bits is None and adc.bits is None and not any(errors)
