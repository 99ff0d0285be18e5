"""The operations that Numba cannot express, in LLVM's own terms.

`fma` rounds once, and gives the same bits in a vectorised loop and in a scalar one, which the
fastmath flag `contract` does not promise.  `tile_product` keeps a tile of a matrix product in
registers: written as loops, LLVM would keep it in memory.  The same goes for `butterflies`, a part
of a Walsh-Hadamard transform.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from fastaimc.kernels.jit import intrinsic

_ir: Any = importlib.import_module("llvmlite.ir")
_binding: Any = importlib.import_module("llvmlite.binding")
_cgutils: Any = importlib.import_module("numba.core.cgutils")
_types: Any = importlib.import_module("numba").types
_config: Any = importlib.import_module("numba").config

TILE_ROWS = 4
TILE_COLUMNS = 64
COUNTED = 16
LANES = 16

_I32 = _ir.IntType(32)
_I64 = _ir.IntType(64)
_ALIGNED = 4  # bytes: to float32 and no more
_LINE = 64  # bytes of a cache line


def _fused(a: np.float32, b: np.float32, c: np.float32) -> np.float32:
    """a * b + c: the product is exact in float64, so this is off by a double rounding at most."""
    return np.float32(np.float64(a) * np.float64(b) + np.float64(c))


@intrinsic(_fused)
def fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c of float32, rounded once; without FMA in the processor it is slow, and right."""
    float32 = _types.float32

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call_fma(builder, _ir.FloatType(), *arguments)

    return float32(float32, float32, float32), codegen


def _call_fma(builder: Any, kind: Any, a: Any, b: Any, c: Any) -> Any:
    name = "f32" if isinstance(kind, _ir.FloatType) else f"v{kind.count}f32"
    function = _ir.FunctionType(kind, [kind, kind, kind])
    fused = _cgutils.get_or_insert_function(builder.module, function, f"llvm.fma.{name}")
    return builder.call(fused, [a, b, c])


def _not_needed(array: np.ndarray, at: int) -> None:
    """What a prefetch does in plain Python: nothing."""


def _prefetch(count: int) -> Any:
    """Return the operation that asks for the cache lines of `count` elements of an array.

    The array is taken as flat from element `at` on; it may end before.  Down the rows of a panel
    every step is on another page, where no hardware looks ahead.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = signature.args[0]
        data = context.make_array(array)(context, builder, arguments[0]).data
        byte = _ir.IntType(8).as_pointer()
        kind = _ir.FunctionType(_ir.VoidType(), [byte, _I32, _I32, _I32])
        function = _cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        first = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        for offset in range(0, count * array.dtype.bitwidth // 8, _LINE):
            place = builder.gep(first, [_I64(offset)])
            builder.call(function, [place, _I32(0), _I32(3), _I32(1)])  # to read, to keep, data
        return context.get_dummy_value()

    def in_llvm(context: Any, array: Any, at: Any) -> Any:
        return _types.void(array, _types.intp), codegen

    return intrinsic(_not_needed)(in_llvm)


def _counted(values: np.ndarray, at: int, least: np.float32) -> int:
    return int((values[at : at + COUNTED] >= least).sum())


@intrinsic(_counted)
def count_at_least(context: Any, values: Any, at: Any, least: Any) -> Any:
    """How many of the COUNTED elements of a vector from `at` on are at least `least`."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, at, least = arguments
        data = context.make_array(signature.args[0])(context, builder, values).data
        kind = _ir.VectorType(_ir.FloatType(), COUNTED)
        found = _load(builder, kind, builder.gep(data, [at]), 0)
        bits = builder.fcmp_ordered(">=", found, _spread(builder, kind, least))
        word = builder.bitcast(bits, _ir.IntType(COUNTED))
        return builder.zext(builder.ctpop(word), _I64)

    return _types.intp(values, _types.intp, _types.float32), codegen


def _mixed(
    out: np.ndarray,
    at: int,
    a: np.float64,
    x: np.ndarray,
    x_at: int,
    b: np.float64,
    y: np.ndarray,
    y_at: int,
) -> None:
    first, second = (
        values.reshape(-1)[start : start + LANES].astype(np.float64)
        for values, start in ((x, x_at), (y, y_at))
    )
    out.reshape(-1)[at : at + LANES] = a * first + b * second


@intrinsic(_mixed)
def mix(
    context: Any, out: Any, at: Any, a: Any, x: Any, x_at: Any, b: Any, y: Any, y_at: Any
) -> Any:
    """``out = a * x + b * y`` of LANES elements of flat arrays of float32 or float64, in float64.

    A loop over so few LLVM would unroll, and then not vectorise for fear that `out` is `x`.
    """
    wide = _ir.VectorType(_ir.DoubleType(), LANES)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def place(index: int) -> tuple[Any, Any]:
            kind = signature.args[index]
            data = context.make_array(kind)(context, builder, arguments[index]).data
            element = _ir.FloatType() if kind.dtype.bitwidth == 32 else _ir.DoubleType()
            return builder.gep(data, [arguments[index + 1]]), _ir.VectorType(element, LANES)

        def loaded(index: int) -> Any:
            pointer, kind = place(index)
            value = _load(builder, kind, pointer, 0)
            return value if kind == wide else builder.fpext(value, wide)

        first, second = loaded(3), loaded(6)
        a, b = (_spread(builder, wide, arguments[index]) for index in (2, 5))
        function = _ir.FunctionType(wide, [wide] * 3)
        fused = _cgutils.get_or_insert_function(builder.module, function, f"llvm.fma.v{LANES}f64")
        total = builder.call(fused, [a, first, builder.fmul(b, second)])
        pointer, kind = place(0)
        value = total if kind == wide else builder.fptrunc(total, kind)
        builder.store(value, _place(builder, kind, pointer, 0)).align = _ALIGNED
        return context.get_dummy_value()

    size, number = _types.intp, _types.float64
    return _types.void(out, size, number, x, size, number, y, size), codegen


def _product(rows: int) -> Any:
    """Return the operation that multiplies so many vectors by a panel of a matrix.

    ``out[i] (+)= sum over k of x[i, k] * matrix[k]`` for `rows` vectors and TILE_COLUMNS columns,
    each sum in the order of k.  Arrays are taken as flat: element (i, k) of x lies at
    ``x_at + i * x_row + k * x_step``, row k of the panel at ``at + k * stride``, and the sums at
    ``out_at``, TILE_COLUMNS apart.  `count`, the number of k, is at least 1; `fresh` sums replace
    what stands there.
    """

    def in_numpy(
        x: np.ndarray,
        x_at: int,
        x_row: int,
        x_step: int,
        matrix: np.ndarray,
        at: int,
        stride: int,
        count: int,
        out: np.ndarray,
        out_at: int,
        fresh: bool,
    ) -> None:
        factors, values, sums = x.reshape(-1), matrix.reshape(-1), out.reshape(-1)
        for i in range(rows):
            target = sums[out_at + i * TILE_COLUMNS :][:TILE_COLUMNS]
            total = np.zeros(TILE_COLUMNS, np.float32)
            for k in range(count):
                row = values[at + k * stride :][:TILE_COLUMNS]
                total += factors[x_at + i * x_row + k * x_step] * row
            target[:] = total if fresh else target + total

    def in_llvm(
        context: Any,
        x: Any,
        x_at: Any,
        x_row: Any,
        x_step: Any,
        matrix: Any,
        at: Any,
        stride: Any,
        count: Any,
        out: Any,
        out_at: Any,
        fresh: Any,
    ) -> Any:
        size = _types.intp
        signature = _types.void(
            x, size, size, size, matrix, size, size, size, out, size, _types.boolean
        )
        return signature, _product_code(rows)

    return intrinsic(in_numpy)(in_llvm)


def _registers() -> tuple[int, int]:
    """Floats of a vector, and vectors of a row whose sums over TILE_ROWS fit into registers."""
    own = not _config.CPU_NAME  # somebody chose another processor: assume the least
    features = _binding.get_host_cpu_features() if own else {}
    if features.get("avx512f", False):
        return 16, 4  # 16 of 32 registers hold sums
    return 8, 2  # 8 of 16; where a register holds four floats, LLVM takes two for each


def _product_code(rows: int) -> Any:
    """Return what writes the code of a product of so many vectors."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, x_at, x_row, x_step, matrix, at, stride, count, out, out_at, fresh = arguments
        x_data, panel, sums = (
            builder.gep(context.make_array(kind)(context, builder, array).data, [offset])
            for kind, array, offset in (
                (signature.args[0], x, x_at),
                (signature.args[4], matrix, at),
                (signature.args[8], out, out_at),
            )
        )
        vectors = [builder.gep(x_data, [builder.mul(x_row, _I64(i))]) for i in range(rows)]
        width, together = _registers()
        kind = _ir.VectorType(_ir.FloatType(), width)
        for column in range(0, TILE_COLUMNS, width * together):
            source = builder.gep(panel, [_I64(column)])
            done = _summed(builder, kind, together, vectors, x_step, source, stride, count)
            for row, held in enumerate(done):
                for index, value in enumerate(held):
                    offset = row * TILE_COLUMNS + column + index * width
                    more = builder.fadd(_load(builder, kind, sums, offset), value)
                    new = builder.select(fresh, value, more)
                    builder.store(new, _place(builder, kind, sums, offset)).align = _ALIGNED
        return context.get_dummy_value()

    return codegen


def _summed(
    builder: Any,
    kind: Any,
    together: int,
    vectors: list[Any],
    step: Any,
    panel: Any,
    stride: Any,
    count: Any,
) -> list[list[Any]]:
    """Write the loop over k; return the sums of each vector and each register."""
    before, body, after = builder.block, *(builder.append_basic_block() for _ in range(2))
    builder.branch(body)
    builder.position_at_end(body)
    k = builder.phi(_I64)
    sums = [[builder.phi(kind) for _ in range(together)] for _ in vectors]
    row = builder.gep(panel, [builder.mul(k, stride)])
    values = [_load(builder, kind, row, index * kind.count) for index in range(together)]
    at = builder.mul(k, step)
    done = []
    for vector, held in zip(vectors, sums, strict=True):
        factor = _spread(builder, kind, builder.load(builder.gep(vector, [at])))
        pairs = zip(values, held, strict=True)
        done.append([_call_fma(builder, kind, factor, value, sum_) for value, sum_ in pairs])
    following = builder.add(k, _I64(1))
    k.add_incoming(_I64(0), before)
    k.add_incoming(following, body)
    for held, new in zip(sums, done, strict=True):
        for phi, value in zip(held, new, strict=True):
            phi.add_incoming(_ir.Constant(kind, [0.0] * kind.count), before)
            phi.add_incoming(value, body)
    builder.cbranch(builder.icmp_signed("<", following, count), body, after)
    builder.position_at_end(after)
    return done


def _butterflies(radix: int) -> Any:
    """Return the operation that transforms `radix` rows of TILE_COLUMNS by a Hadamard matrix.

    In place, rows at ``at + i * stride`` of a flat array, in the matrix's natural order.
    """

    def in_numpy(z: np.ndarray, at: int, stride: int) -> None:
        flat = z.reshape(-1)
        rows = [flat[at + i * stride :][:TILE_COLUMNS] for i in range(radix)]
        for low, high in _pairs(radix):
            total, difference = rows[low] + rows[high], rows[low] - rows[high]
            rows[low][:], rows[high][:] = total, difference

    def in_llvm(context: Any, z: Any, at: Any, stride: Any) -> Any:
        return _types.void(z, _types.intp, _types.intp), codegen

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        z, at, stride = arguments
        first = builder.gep(context.make_array(signature.args[0])(context, builder, z).data, [at])
        rows = [builder.gep(first, [builder.mul(stride, _I64(i))]) for i in range(radix)]
        kind = _ir.VectorType(_ir.FloatType(), _registers()[0])
        for column in range(0, TILE_COLUMNS, kind.count):
            values = [_load(builder, kind, row, column) for row in rows]
            for low, high in _pairs(radix):
                total = builder.fadd(values[low], values[high])
                values[high] = builder.fsub(values[low], values[high])
                values[low] = total
            for row, value in zip(rows, values, strict=True):
                builder.store(value, _place(builder, kind, row, column)).align = _ALIGNED
        return context.get_dummy_value()

    return intrinsic(in_numpy)(in_llvm)


def _pairs(radix: int) -> list[tuple[int, int]]:
    """Return which rows are added and subtracted, one stage after another."""
    steps = [1 << stage for stage in range(radix.bit_length() - 1)]
    return [(i, i + step) for step in steps for i in range(radix) if not i & step]


def _place(builder: Any, kind: Any, pointer: Any, offset: int) -> Any:
    return builder.bitcast(builder.gep(pointer, [_I64(offset)]), kind.as_pointer())


def _load(builder: Any, kind: Any, pointer: Any, offset: int) -> Any:
    value = builder.load(_place(builder, kind, pointer, offset))
    value.align = _ALIGNED
    return value


def _spread(builder: Any, kind: Any, value: Any) -> Any:
    """Return a vector of one number."""
    undefined = _ir.Constant(kind, _ir.Undefined)
    first = builder.insert_element(undefined, value, _I32(0))
    zeros = _ir.Constant(_ir.VectorType(_I32, kind.count), [0] * kind.count)
    return builder.shuffle_vector(first, undefined, zeros)


prefetch_row = _prefetch(TILE_COLUMNS)
tile_product = _product(TILE_ROWS)
row_product = _product(1)
butterflies_16 = _butterflies(16)
butterflies_8 = _butterflies(8)
butterflies_4 = _butterflies(4)
butterflies_2 = _butterflies(2)
