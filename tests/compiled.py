"""Helpers of kernels, for tests to call."""

from collections.abc import Callable
from typing import Any

import numba

from fastaimc.kernels import jit


def opened(helper: Callable[..., Any]) -> Callable[..., Any]:
    """Return a kernel that does what a helper does."""

    def call(*arguments: Any) -> Any:
        return helper(*arguments)

    compiled: Callable[..., Any] = numba.njit(**jit._STRICT)(call)
    return compiled
