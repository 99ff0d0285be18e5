"""Tolerances of what programming leaves in a device, derived as those of `tolerances`."""

import numpy as np
from tolerances import EPS, EXP_ULP, NORMAL_RELATIVE, SECOND_ORDER

from fastaimc.parameters import IncrementParameters, PulseParameters


def log_normal(typical: float, spread: float, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is spread by a normal of its logarithm, and its relative error.

    The normal's error and one rounding of the exponent; exp's, and one rounding of the product.
    """
    power = spread * np.abs(z) * (NORMAL_RELATIVE + EPS)
    return typical * np.exp(spread * z), np.expm1(power) + (2 * EXP_ULP + 1) * EPS * (spread > 0)


def pulsed(current_ua: np.ndarray, z: list[np.ndarray], p: PulseParameters) -> np.ndarray:
    """Error of the conductance after a pulse, µS; `z`: normals of the device, and of the pulse.

    The reference's equation, line by line, with one EPS for every operation.
    """
    z0, z1, z2, z_depth, _, _, z3 = (np.abs(value) for value in z)
    normal = NORMAL_RELATIVE + EPS
    centre = p.centre_ua * (1 + p.centre_spread * z[1])
    width = p.width_ua * (1 + p.width_spread * z[2])
    a = (current_ua - centre) / width
    d_width = p.width_ua * p.width_spread * z2 * normal / width + 2 * EPS
    d_centre = p.centre_ua * p.centre_spread * z1 * normal + 2 * EPS * centre
    d_a = (2 * EPS * current_ua + d_centre) / width + np.abs(a) * (d_width + 2 * EPS)
    s = 1 / (1 + np.exp(-a))
    d_s = s * ((1 - s) * (d_a + 2 * EPS * EXP_ULP) + 2 * EPS)
    depth = p.depth * (1 + p.decades_spread * z[3])
    d_depth = p.depth * p.decades_spread * z_depth * normal + 2 * EPS * depth
    power = np.abs(p.log_g_set) + p.g_set_spread * z0 + depth * s
    d_power = p.g_set_spread * z0 * normal + depth * (d_s + EPS * s) + 2 * EPS * power + d_depth * s
    g = np.exp(p.log_g_set + p.g_set_spread * z[0] - depth * s)
    d_g = g * (d_power + 2 * EPS * EXP_ULP)
    jitter, d_jitter = log_normal(float(p.jitter_ua), float(p.jitter_spread), z[4])
    steep = g * depth / width * jitter  # of the scatter, but for s (1 - s)
    slope = steep * s * (1 - s)
    relative = d_g / g + d_width + d_depth / depth + d_jitter + 6 * EPS
    d_slope = slope * relative + steep * (d_s + EPS * s * (1 - s))
    floor, d_floor = log_normal(float(p.floor_us), float(p.floor_spread), z[5])
    scatter = np.hypot(slope, floor)
    d_scatter = d_slope + floor * d_floor + 2 * EPS * scatter
    noise = z3 * (d_scatter + scatter * normal)
    return np.asarray(SECOND_ORDER * (d_g + noise + 2 * EPS * (g + scatter * z3)))


def written(x: np.ndarray, value: np.ndarray, z: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Error of a conductance after a write, µS.

    The polynomial of the spread: eight roundings by Horner, and x's two (a product, or the clamp's
    constant) times the degree, on the sum of its terms' sizes. Then a normal, a product, a sum.
    """
    spread = np.polynomial.polynomial.polyval(x, np.abs(c.astype(np.float64)))
    noise = np.abs(z) * spread * (16 * EPS + NORMAL_RELATIVE + EPS)
    return np.asarray(SECOND_ORDER * (noise + 2 * EPS * (value + np.abs(z) * spread)))


def incremented(
    number: np.ndarray,
    pulses: np.ndarray,
    z: np.ndarray,
    own: tuple[np.ndarray, ...],
    d_own: tuple[np.ndarray, ...],
    steps: np.ndarray,
    p: IncrementParameters,
) -> np.ndarray:
    """Error of a conductance after so many pulses, µS; `z`: a normal of each pulse, first axis.

    A step is read from the table at the place u, which takes a difference of two conductances and
    two quotients; a table that is steep there passes u's error on. Its own roundings: two for each
    term between points, two for each of the memory, one for each product. The bounds' errors clip
    the result. All sizes are the largest that there are.
    """
    scale, low, high = np.maximum(*own[:2]), *own[2:]
    d_scale, d_low, d_high = np.maximum(*d_own[:2]), *d_own[2:]
    most = np.abs(steps).max(axis=1)
    steep = np.abs(np.diff(steps.astype(np.float64))).max(axis=1) * (steps.shape[1] - 1)
    memory = np.exp(-p.memory_rate * np.minimum(pulses + 1, 255)) * (p.memory_rate > 0)
    d_memory = memory * (2 * EPS * EXP_ULP + 2 * EPS * p.memory_rate * 255)
    mean, d_mean = max(most[0], most[2]), max(steep[0], steep[2])
    std, d_std = max(most[1], most[3]), max(steep[1], steep[3])
    width, d_g = high - low, np.zeros(low.shape)
    for i in range(len(z)):
        size = np.abs(z[i])
        d_u = (d_g + 3 * (d_low + d_high) + 3 * EPS * high) / width + 3 * EPS
        own_mean = d_mean * d_u + 3 * EPS * mean + p.mean_memory_us * (d_memory + 3 * EPS * memory)
        own_std = d_std * d_u + 3 * EPS * std + p.std_memory_us * (d_memory + 3 * EPS * memory)
        largest = mean + p.mean_memory_us * memory, std + p.std_memory_us * memory
        spread = own_std * size + largest[1] * size * (NORMAL_RELATIVE + 2 * EPS)
        change = largest[0] + largest[1] * size
        d_change = scale * (own_mean + spread + 3 * EPS * change) + d_scale * change
        after = d_g + d_change + d_low + d_high + 2 * EPS * (high + scale * change)
        d_g = np.where(i < number, after, d_g)
    return SECOND_ORDER * (d_g + 2 * EPS * high)


def own_devices(z: np.ndarray, p: IncrementParameters) -> tuple[np.ndarray, ...]:
    """Errors of a device's factors on steps and of its bounds; `z`: its four normals."""
    z0, z1, z2, z3 = np.abs(z)
    normal = NORMAL_RELATIVE + 2 * EPS
    scale = (p.step_spread * z0 + p.asymmetry_spread * z1) * normal + 3 * EPS
    scale = scale + 3 * EPS * (p.step_spread * z0 + p.asymmetry_spread * z1)
    low = p.low_spread * z2 * normal + 3 * EPS * (p.low_us + p.low_spread * z2)
    high = p.high_spread * z3 * normal + 3 * EPS * (p.high_us + p.high_spread * z3)
    return scale, scale, low, high + low + 3 * EPS * p.high_us
