"""The floors of the house, held by reading the sources: who may import whom, and what no file does.

A module imports only from floors below its own, or from its own package. A new module under
fastaimc/ gets a line in `FLOORS`.
"""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest
from architecture import Import, exists, house, imports, in_house, internal, modules, none

# Lowest first. A name is a file or a folder of fastaimc/; names on one floor do not see each other.
FLOORS = {
    "errors": 0,
    "parameters": 0,
    "config": 1,
    "memory": 1,
    "storage": 1,
    "progress": 1,
    "cost": 2,
    "nominal": 2,
    "weights": 2,
    "mapping": 3,
    "reference": 3,
    "kernels": 3,
    "engine": 4,
    "vectors": 4,
    "provenance": 5,
    "aging": 5,
    "noise": 5,
    "response": 5,
    "stuck": 5,
    "circuit": 5,
    "core": 6,
    "terminals": 7,
    "faults": 7,
    "programming": 8,
    "programmed": 8,
    "matrix": 9,
    "metrics": 10,
    "job": 10,
    "files": 10,
    "checkpoint": 11,
    "api": 12,
    "candidates": 9,
    "network": 13,
    "compare": 14,
    "report": 15,
    "plots": 15,
    "cli_options": 13,
    "cli_info": 14,
    "cli_compare": 16,
    "cli": 17,
    "__main__": 18,
    "__init__": 14,
}
# The twins share the flat numbers that an engine takes, and nothing else.
TWINS_MAY_IMPORT = {"parameters"}
COMPILES = {"cache", "jit", "library"}  # no kernels: how they are compiled
# NumPy multiplies itself, and what devices differ in needs no loops of its own there.
ONLY_IN_KERNELS = {*COMPILES, "hadamard", "launch", "matmul", "variation", "vector"}
ONLY_IN_REFERENCE: set[str] = set()
# What must start fast.
WITHOUT_NUMBA_AND_SCIPY = ("errors", "parameters", "config", "cli", "__init__")
# What must start without PyTorch: all but the files of network/ that are loaded when it is used.
WITHOUT_TORCH = ("", ".cli", ".compare", ".network", ".network.calibration", ".network.perceptron")
# Only kernels/jit.py decides how kernels are compiled and threaded.
ONLY_IN_JIT = {
    *("cfunc", "config", "guvectorize", "jit", "njit", "set_num_threads", "set_parallel_chunksize"),
    *("stencil", "threading_layer", "vectorize"),
}
RANDOM = {"np.random", "numpy.random"}
PICKLES = {"_pickle", "cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}


def test_every_module_has_a_floor() -> None:
    none(
        [
            f"{module.relative}: {module.house!r} has no floor; add it to FLOORS in {__file__}"
            for module in modules()
            if module.house not in FLOORS
        ]
    )


def test_imports_go_to_lower_floors() -> None:
    none(
        [
            f"{module.relative}:{i.line} imports {i.module}, which is not below {module.house}"
            for module in modules()
            for i in internal(module)
            if house(i.module) != module.house
            and FLOORS.get(house(i.module), 99) >= FLOORS.get(module.house, 99)
        ]
    )


def test_no_circles() -> None:
    graph = {
        module.name: {i.module for i in internal(module) if i.module != module.name}
        for module in modules()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("imports in a circle: " + " -> ".join(error.args[1]))


@pytest.mark.parametrize("twin", ["reference", "kernels"])
def test_twins_know_only_themselves(twin: str) -> None:
    none(
        [
            f"{module.relative}:{i.line} imports {i.module}"
            for module in in_house(twin)
            for i in internal(module)
            if house(i.module) not in {twin, *TWINS_MAY_IMPORT}
        ]
    )


def test_twins_have_the_same_files() -> None:
    kernels = {module.path.stem for module in in_house("kernels")} - ONLY_IN_KERNELS
    reference = {module.path.stem for module in in_house("reference")} - ONLY_IN_REFERENCE
    none(
        [f"kernels/{name}.py has no twin in reference/" for name in sorted(kernels - reference)]
        + [f"reference/{name}.py has no twin in kernels/" for name in sorted(reference - kernels)]
    )


def test_the_reference_is_numpy() -> None:
    """Also inside functions: no Numba, and of SciPy only special functions at start."""
    allowed = {"fastaimc", "numpy", "scipy", *sys.stdlib_module_names}
    none(
        [
            f"{module.relative}:{i.line} imports {i.module}"
            for module in in_house("reference")
            for i in imports(module)
            if i.top not in allowed or (i.top == "scipy" and i.at_start and not is_scipy_special(i))
        ]
    )


def is_scipy_special(i: Import) -> bool:
    return i.module.startswith("scipy.special") or (i.module == "scipy" and i.names == ("special",))


def test_numba_stays_in_kernels() -> None:
    none(
        [
            f"{module.relative}:{i.line} imports {i.module}"
            for module in modules()
            for i in imports(module)
            if i.top in {"numba", "llvmlite"} and module.house != "kernels"
        ]
    )


def test_options_of_numba_stay_in_jit() -> None:
    none(
        [
            f"{module.relative}:{i.line} imports {i.module} {', '.join(i.names)}"
            for module in in_house("kernels")
            for i in imports(module)
            if i.top == "numba"
            and not module.is_jit
            and (not i.names or ONLY_IN_JIT.intersection(i.names))
        ]
    )


def test_scipy_waits() -> None:
    """In kernels it is imported inside functions; scipy.sparse is everywhere."""
    none(
        [
            f"{module.relative}:{i.line} imports {i.module} at start"
            for module in modules()
            for i in imports(module)
            if i.top == "scipy"
            and i.at_start
            and not module.is_jit
            and (
                module.house == "kernels"
                or i.module.startswith("scipy.sparse")
                or "sparse" in i.names
            )
        ]
    )


def test_kernels_neither_raise_nor_draw_from_numpy() -> None:
    violations = []
    for module in in_house("kernels"):
        if module.name.rpartition(".")[2] in COMPILES:
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Raise | ast.Assert):
                violations.append(f"{module.relative}:{node.lineno} raises")
            elif isinstance(node, ast.ClassDef):
                violations.append(f"{module.relative}:{node.lineno} defines a class")
            elif isinstance(node, ast.Attribute) and ast.unparse(node) in RANDOM:
                violations.append(f"{module.relative}:{node.lineno} uses {ast.unparse(node)}")
        violations += [
            f"{module.relative}:{i.line} imports {i.module}"
            for i in imports(module)
            if i.top == "random"
            or i.module.startswith("numpy.random")
            or (i.module == "numpy" and "random" in i.names)
        ]
    none(violations)


def test_no_pickle() -> None:
    violations = [
        f"{module.relative}:{i.line} imports {i.module}"
        for module in modules()
        for i in imports(module)
        if i.top in PICKLES
    ]
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                constant = node.value.value if isinstance(node.value, ast.Constant) else None
                if constant is not False:
                    violations.append(f"{module.relative}:{node.value.lineno} allows pickle")
    none(violations)


@pytest.mark.nojit
@pytest.mark.parametrize("name", WITHOUT_NUMBA_AND_SCIPY)
def test_starts_without_numba_and_scipy(name: str) -> None:
    target = "fastaimc" if name == "__init__" else f"fastaimc.{name}"
    if exists(target):
        assert loaded_by([target], {"numba", "llvmlite", "scipy"}) == ""


def test_the_reference_loads_no_numba() -> None:
    names = [module.name for module in in_house("reference")]
    assert loaded_by(names, {"numba", "llvmlite"}) == ""


def test_torch_stays_in_network() -> None:
    none(
        [
            f"{module.relative}:{i.line} imports {i.module}"
            for module in modules()
            for i in imports(module)
            if i.top == "torch" and module.house != "network"
        ]
    )
    assert loaded_by([f"fastaimc{name}" for name in WITHOUT_TORCH], {"torch"}) == ""


def loaded_by(names: list[str], unwanted: set[str]) -> str:
    """Import modules in a new process, from where this one has them; name what came along."""
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; import importlib\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(*sorted({unwanted!r}.intersection(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
