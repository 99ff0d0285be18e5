"""Parallel loops: the items of a kernel handed out to the threads of Numba's pool.

Numba's own `prange` would compile all that a loop calls five times over (loop, two wrappers of a
universal function, kernel), a minute for this package.  `launch` calls the pool itself, in the way
that those wrappers do: the same threads, and half the time to compile.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from fastaimc.kernels.jit import intrinsic, workers

_ir: Any = importlib.import_module("llvmlite.ir")
_binding: Any = importlib.import_module("llvmlite.binding")
_cgutils: Any = importlib.import_module("numba.core.cgutils")
_types: Any = importlib.import_module("numba").types

POOL = "numba_parallel_for"  # (function, arguments, counts, steps, data, 0, arguments, threads)

_VOID = _ir.VoidType()
_SIZE = _ir.IntType(64)
_BYTE = _ir.IntType(8).as_pointer()


def _one_by_one(
    function: Callable[..., None], shares: int, begin: int, end: int, arguments: tuple[Any, ...]
) -> None:
    """What `launch` does in plain Python."""
    for share in range(shares):
        low, high = (begin + (end - begin) * (share + more) // shares for more in (0, 1))
        function(low, high, *arguments)


@intrinsic(_one_by_one)
def launch(context: Any, function: Any, shares: Any, begin: Any, end: Any, arguments: Any) -> Any:
    """Call ``function(low, high, *arguments)`` for equal shares of the items, each on a thread.

    `function` is a compiled one that returns nothing and never raises; `shares` is one, which
    wakes nobody, or best what `jit.workers` says.  The pool has to be started before such a kernel
    is loaded, which would not find it: `jit.run` and `jit.workers` do.
    """
    workers()  # starts the pool
    size = _types.intp
    called = function.get_call_type(context, (size, size, *arguments.types), {})

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        compiled = function.dispatcher.get_compile_result(called)
        context.active_code_library.add_linking_library(compiled.library)
        shares, begin, end = values[1:4]
        lent = _lent(context, builder, arguments, values[4])
        data = [begin, end, shares, *_cgutils.unpack_tuple(builder, lent)]
        held = _cgutils.pack_struct(builder, data)
        task = _task(context, builder, compiled, held.type)
        _call_pool(builder, task, held, shares)
        return context.get_dummy_value()

    return _types.void(function, size, size, size, arguments), codegen


def _lent(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Return a value whose arrays have no owner: threads would wait for each other's counting.

    The caller owns them until all threads are done.
    """
    if isinstance(kind, _types.Array):
        array = context.make_array(kind)(context, builder, value)
        array.meminfo = _cgutils.get_null_value(array.meminfo.type)
        array.parent = _cgutils.get_null_value(array.parent.type)
        return array._getvalue()  # noqa: SLF001  as all of Numba does
    if isinstance(kind, _types.BaseTuple):
        for index, element in enumerate(kind.types):
            lent = _lent(context, builder, element, builder.extract_value(value, index))
            value = builder.insert_value(value, lent, index)
    return value


def _task(context: Any, builder: Any, compiled: Any, data: Any) -> Any:
    """Write the function that a thread of the pool calls, once for one or more shares."""
    kind = _ir.FunctionType(_VOID, [_BYTE.as_pointer(), *[_SIZE.as_pointer()] * 2, _BYTE])
    name = builder.module.get_unique_name(f"{builder.function.name}.task")
    task = _ir.Function(builder.module, kind, name=name)
    task.linkage = "internal"
    inside = _ir.IRBuilder(task.append_basic_block())
    arguments, counts, _, place = task.args
    held = inside.load(inside.bitcast(place, data.as_pointer()))
    begin, end, shares, *others = _cgutils.unpack_tuple(inside, held, len(data.elements))
    first = inside.ptrtoint(inside.load(arguments), _SIZE)
    items = inside.sub(end, begin)
    callee = context.declare_function(builder.module, compiled.fndesc)

    def cut(share: Any) -> Any:
        return inside.add(begin, inside.sdiv(inside.mul(items, share), shares))

    with _cgutils.for_range(inside, inside.load(counts)) as loop:
        share = inside.add(first, loop.index)
        span = [cut(share), cut(inside.add(share, _SIZE(1)))]
        context.call_conv.call_function(
            inside, callee, compiled.fndesc.restype, compiled.fndesc.argtypes, span + others
        )
    inside.ret_void()
    return task


def _call_pool(builder: Any, task: Any, data: Any, shares: Any) -> None:
    """Write the call of the pool: the one argument is the number of the share, as an address."""

    def place(value: Any) -> Any:
        return _cgutils.alloca_once_value(builder, value)

    first = place(_ir.Constant(_BYTE, None))
    counts, steps, held = place(shares), place(_SIZE(1)), place(data)
    here = [first, counts, steps, builder.bitcast(held, _BYTE)]
    if _binding.address_of_symbol(POOL) is None:  # Numba's internals have moved: one thread
        builder.call(task, here)
        return
    with builder.if_else(builder.icmp_signed("<=", shares, _SIZE(1))) as (alone, together):
        with alone:
            builder.call(task, here)
        with together:
            _wake_pool(builder, task, here)


def _wake_pool(builder: Any, task: Any, arguments: Any) -> None:
    """Write the call of the pool's function."""
    kind = _ir.FunctionType(_VOID, [_BYTE] * 5 + [_SIZE] * 3)
    pool = _cgutils.get_or_insert_function(builder.module, kind, POOL)
    asked = _cgutils.get_or_insert_function(
        builder.module, _ir.FunctionType(_SIZE, []), "get_num_threads"
    )  # as Numba asks: never more threads than the pool has, whatever the shares
    pointers = [builder.bitcast(value, _BYTE) for value in (task, *arguments)]
    builder.call(pool, [*pointers, _SIZE(0), _SIZE(1), builder.call(asked, [])])
