"""Helpers of kernels: optimised and translated within the kernels that call them, never alone.

Numba makes machine code of every helper, and of every kernel with all its helpers in it.  Both
have the same names, and the first that a process knows is what it runs: the helper's own code
where it has just been compiled, which may be slower by three times, the kernel's where that comes
from the cache.  Without the former both run the latter, and compile in two thirds of the time.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NoReturn

_Library: Any = object
_Compiler: Any = object
try:
    _Library = importlib.import_module("numba.core.codegen").JITCodeLibrary
    _Compiler = importlib.import_module("numba.core.compiler").Compiler
except (ImportError, AttributeError):  # Numba's internals have moved: `options` is empty
    pass


class _WithoutEngine:
    """Numba's code generator, but for the one call that looks for loaded code."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, *_: object) -> None:
        """Do nothing: the environment serves to raise and to print, which no helper does."""


class _HelperLibrary(_Library):  # type: ignore[misc]
    """LLVM's code of a helper as it was written, for kernels to take in."""

    @property
    def codegen(self) -> Any:
        return _WithoutEngine(self._codegen)

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        del name
        return 0


class _HelperCompiler(_Compiler):  # type: ignore[misc]
    """Numba's compiler with a library of ours."""

    state: Any

    def compile_extra(self, func: Callable[..., Any]) -> Any:
        codegen = self.state.targetctx.codegen()
        self.state.library = _HelperLibrary(codegen, func.__qualname__)
        return super().compile_extra(func)


_NEEDED = ("_optimize_final_module", "_finalize_final_module", "_finalize_dynamic_globals")
_KNOWN = all(hasattr(_Library, name) for name in (*_NEEDED, "_verify_declare_only_symbols"))


def options() -> dict[str, Any]:
    """Return what `njit` gets for a helper; nothing where Numba is not one this was written for.

    Helpers are then compiled as kernels are.
    """
    if not _KNOWN:
        return {}
    return {"pipeline_class": _HelperCompiler, "no_cpython_wrapper": True}


def close(dispatcher: Any) -> None:
    """Let no call from Python reach a helper without machine code: the process would end."""
    if not _KNOWN:
        return

    def refuse(*_: object, **__: object) -> NoReturn:
        raise TypeError(f"{dispatcher.py_func.__name__} is a helper: only compiled code calls it")

    def add(compiled: Any) -> None:
        dispatcher.overloads[tuple(compiled.signature.args)] = compiled

    dispatcher.add_overload = add  # Numba's also makes it known to calls from Python
    dispatcher._compile_for_args = refuse  # noqa: SLF001  what such a call tries then
