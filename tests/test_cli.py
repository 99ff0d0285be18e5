"""The command line: results, errors, interrupts, and what starting must not load."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import subprocesses
from typer.testing import CliRunner

import fastaimc as fa
from fastaimc import api, cli, cli_info, cli_options
from fastaimc.config import ADC, DAC, Circuit, CoreConfig, Drift, MeltQuench, ReadNoise, Wires
from fastaimc.programming import to_dict

WEIGHTS = np.random.default_rng(0).normal(size=(6, 8)).astype("f4")
FAST = ("--engine", "reference", "--threads", "1")


def run(*args: object, code: int = 0) -> Any:
    result = CliRunner().invoke(cli.app, [str(arg) for arg in args], env={"NO_COLOR": "1"})
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


def refused(*args: object) -> str:
    """Run a command that must end as bad input does; return its message."""
    result = run(*args, code=2)
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert 1 <= len(lines) <= 5
    assert "Traceback" not in result.stderr
    assert lines[0].startswith("Error: ")
    text: str = result.stderr
    return text


@pytest.fixture
def lone(tmp_path: Path) -> Path:
    np.save(tmp_path / "w.npy", WEIGHTS)
    return tmp_path / "w.npy"


@pytest.fixture
def several(tmp_path: Path) -> Path:
    path = tmp_path / "net.npz"
    arrays = {"fc1": WEIGHTS, "a/b": WEIGHTS.T, "a_b": WEIGHTS, "checkpoint": WEIGHTS}
    np.savez(path, bias=np.ones(3), conv=np.ones((2, 3, 2, 2)), **arrays)
    return path


# -- program --------------------------------------------------------------------------------------


def test_a_lone_matrix_goes_where_it_is_told(lone: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    result = run("program", lone, "-o", out, "--preset", "ideal", *FAST)
    assert "weights" in result.stdout
    assert "6×8" in result.stdout
    assert result.stderr == "programming: 0/0 start\n"
    np.testing.assert_allclose(fa.load(out).weights(), WEIGHTS, rtol=1e-5, atol=1e-6)
    assert sorted(os.listdir(tmp_path)) == ["out.npz", "w.npy"]  # noqa: PTH208  names alone


def test_options_reach_the_library(lone: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    options = ["--method", "gdp", "--iterations", 2, "--batch", 8, "--seed", 5]
    options += ["--input-range", 2.5, "--set", "adc.bits=6", "--set", "drift=null"]
    run("program", lone, "-o", out, *options, "--set", "compensation=none", *FAST)
    config = fa.override(
        fa.presets.hermes(), {"adc.bits": 6, "drift": None, "compensation": "none"}
    )
    method = fa.GradientDescentProgramming(iterations=2, batch=8)
    expected = fa.program(
        {"weights": WEIGHTS}, config, method, seed=5, input_range=2.5, engine="reference"
    )["weights"]
    found = fa.load(out)
    assert found.config == config
    assert found.input_range == 2.5
    np.testing.assert_array_equal(found.weights(), expected.weights())


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("estimate", fa.EstimateGuidedProgramming(iterations=2)),
        ("ip-fine", fa.IterativeProgramming(iterations=2, fine=True)),
        ("averaged", fa.AveragedReadProgramming(iterations=2)),
        ("hadamard", fa.HadamardVerifyProgramming(iterations=2)),
        ("least-squares", fa.LeastSquaresReadProgramming(iterations=2)),
        ("tdp", fa.TwoDeviceProgramming(iterations=2)),
        ("max-fill", fa.TwoDeviceProgramming(iterations=2, allocation="max_fill")),
    ],
)
def test_methods_by_name(name: str, method: Any, lone: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    run("program", lone, "-o", out, "--method", name, "--iterations", 2, *FAST)
    assert fa.load(out).provenance["method"] == to_dict(method)


def test_several_matrices_become_one_file_each(several: Path, tmp_path: Path) -> None:
    result = run("program", several, "-o", tmp_path / "o.npz", "--preset", "ideal", *FAST)
    names = sorted(path.name for path in tmp_path.glob("o*"))
    expected = ["a_b", "a_b-2", "checkpoint-2", "conv", "fc1"]
    assert names == sorted(f"o.{label}.npz" for label in expected)
    assert "Note: bias: skipped, 1-D" in result.stderr
    assert "Note: conv: 4-D (2, 3, 2, 2) flattened to (2, 12)" in result.stderr
    assert "Note" not in result.stdout
    assert fa.load(tmp_path / "o.a_b.npz").shape == (8, 6)


def test_nothing_existing_is_replaced_without_force(lone: Path, tmp_path: Path) -> None:
    out, state = tmp_path / "out.npz", tmp_path / "out.checkpoint.npz"
    program = ("program", lone, "-o", out, "--preset", "ideal", *FAST)
    out.write_text("mine")
    assert "out.npz' exists" in refused(*program)
    assert out.read_text() == "mine"
    out.unlink()
    state.write_text("mine")
    assert "--resume" in refused(*program)
    assert state.read_text() == "mine"
    out.write_text("mine")
    run(*program, "--force")
    assert fa.load(out).shape == (6, 8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--method", "gpd"], ["--method", "did you mean 'gdp'"]),
        (["--method", "write"], ["--method write", "hermes-statistics"]),
        (["--method", "ip", "--batch", 3], ["--batch", "gdp or estimate alone"]),
        (["--method", "write", "--preset", "ideal", "--iterations", 3], ["--iterations"]),
        (["--method", "gdp", "--preset", "ideal"], ["--method gdp"]),
        (["--iterations", 0], ["--iterations must be from 1"]),
        (["--preset", "herms"], ["--preset", "did you mean 'hermes'"]),
        (["--preset", "hermes", "--config", "c.json"], ["--preset and --config"]),
        (["--config", "gone.json"], ["--config 'gone.json'", "No such file"]),
        (["--config", "."], ["--config '.'", "folder"]),
        (["--set", "adc.bit=6"], ["--set", "did you mean 'adc.bits'"]),
        (["--set", "adc.bits=6.5"], ["adc.bits must be an integer"]),
        (["--set", "adc.bits=NaN"], ["adc.bits"]),
        (["--set", "adc"], ["--set must be PATH=VALUE", "'adc'"]),
        (["--set", "=3"], ["--set must be PATH=VALUE"]),
        (["--set", "rows=" + "[" * 5000], ["rows"]),
        (["--seed", "-1"], ["seed must be from 0"]),
        (["--seed", "x"], ["--seed"]),
        (["--threads", "0"], ["threads must be from 1"]),
        (["--engine", "numbra"], ["engine", "did you mean 'numba'"]),
        (["--input-range", "0"], ["input_range"]),
        (["--sed", "1"], ["--sed", "--seed"]),
    ],
)
def test_bad_options_are_named(lone: Path, tmp_path: Path, options: Any, words: Any) -> None:
    message = refused("program", lone, "-o", tmp_path / "out.npz", *options)
    for word in words:
        assert word in message
    assert not (tmp_path / "out.npz").exists()


def test_bad_places_are_found_before_the_work(lone: Path, tmp_path: Path) -> None:
    ideal = ("--preset", "ideal", *FAST)
    assert "folder that exists" in refused("program", lone, "-o", tmp_path / "no" / "o", *ideal)
    assert "got a folder" in refused("program", lone, "-o", tmp_path, "--force", *ideal)
    assert "got a folder" in refused("program", lone, "-o", ".", *ideal)
    assert "must be a path" in refused("program", lone, "-o", tmp_path / ("x" * 300), *ideal)
    assert "gone.npy" in refused("program", tmp_path / "gone.npy", "-o", tmp_path / "o", *ideal)
    out = tmp_path / "out.npz"
    assert "another file" in refused("program", lone, "-o", out, "--checkpoint", out, *ideal)
    assert "either WEIGHTS or --resume" in refused("program", "-o", out)
    assert "either WEIGHTS or --resume" in refused("program", lone, "--resume", lone, "-o", out)
    assert "--output" in refused("program", lone)


def test_config_files_are_read_as_they_are_written(lone: Path, tmp_path: Path) -> None:
    file = tmp_path / "my.json"
    file.write_text(run("presets", "ideal", "--json").stdout)
    run("program", lone, "-o", tmp_path / "o.npz", "--config", file, *FAST)
    assert fa.load(tmp_path / "o.npz").config == fa.presets.ideal()
    for content in (b"{", b"\xff\xfe", b"[]", b" " * (2 << 20)):
        file.write_bytes(content)
        assert "my.json" in refused("program", lone, "-o", tmp_path / "p", "--config", file)


# -- Ctrl-C ---------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_ctrl_c_says_how_to_resume_and_resume_is_bitwise(lone: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "out.npz", tmp_path / "whole.npz"
    options = ("--method", "ip", "--iterations", 400, *FAST)
    command = [sys.executable, "-m", "fastaimc", "program", lone, "-o", out, *options]
    inherited = os.environ | {"PYTHONPATH": str(subprocesses.tested_package())}
    with subprocess.Popen(
        [str(part) for part in command],
        env=inherited,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert first.startswith("programming: 0/400"), first
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=subprocesses.TIMEOUT_S)
    assert process.returncode == 130, stderr
    assert stdout == ""
    state = tmp_path / "out.checkpoint.npz"
    resume = f"--resume {state} -o {out}"
    assert stderr.splitlines()[-1] == (
        f"Interrupted and saved. Go on with: fastaimc program {resume}"
    )
    facts = json.loads(run("info", state, "--json").stdout)
    assert facts["kind"] == "checkpoint"
    assert facts["iterations_done"] < facts["iterations"] == 400
    assert facts["layers"] == {"weights": [6, 8]}
    assert "IterativeProgramming" in run("info", state).stdout
    assert "--seed cannot be given" in refused("program", *resume.split(), "--seed", 1)
    assert "--set cannot be given" in refused("program", *resume.split(), "--set", "rows=4")
    assert "--resume" in refused("program", state, "-o", tmp_path / "other.npz")
    run("program", *resume.split(), "--threads", 1)
    assert not state.exists()
    run("program", lone, "-o", whole, *options)
    np.testing.assert_array_equal(fa.load(out).weights(), fa.load(whole).weights())


def test_ctrl_c_before_anything_is_saved(
    lone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "program", interrupt)
    result = run("program", lone, "-o", tmp_path / "o.npz", "--preset", "ideal", code=130)
    assert "start again" in result.stderr
    assert result.stdout == ""
    monkeypatch.setattr(cli_info, "describe_file", interrupt)
    assert run("info", lone, code=130).stderr == "Interrupted.\n"


# -- info, presets, --version ---------------------------------------------------------------------


def test_info_of_a_matrix(tmp_path: Path) -> None:
    matrix = fa.program(np.zeros((2, 3)), fa.presets.ideal(), seed=7, engine="reference")
    fa.save(tmp_path / "m.npz", matrix)
    text = run("info", tmp_path / "m.npz").stdout
    for word in ("2×3", "DirectWrite", "seed", "7", "numpy", "residual", "date"):
        assert word in text
    facts = json.loads(run("info", tmp_path / "m.npz", "--json").stdout)
    assert facts["shape"] == [2, 3]
    assert facts["config"]["config"]["kind"] == "CoreConfig"
    assert facts["mvm_error"]["total"] == fa.mvm_error(matrix).total


def test_info_of_something_else(lone: Path, tmp_path: Path) -> None:
    assert "w.npy' must be a matrix or a checkpoint" in refused("info", lone)
    assert "gone" in refused("info", tmp_path / "gone")
    assert "WEIGHTS" not in refused("info")
    np.savez(tmp_path / "n.npz", fc=WEIGHTS)
    assert "got another file" in refused("info", tmp_path / "n.npz")


def test_numbers_that_json_does_not_know() -> None:
    given = {"a": [float("inf"), 1.5, (float("nan"),)], "b": {"c": True}}
    assert cli._finite(given) == {"a": [None, 1.5, [None]], "b": {"c": True}}


def test_presets_say_what_they_model() -> None:
    text = run("presets").stdout
    for name in cli_options.presets():
        assert name in text
    assert "Le Gallo" in text
    details = run("presets", "hermes").stdout
    for path in ("adc.bits", "drift.t_ref_s", "device.g_set_us", "circuit.energy_set_j"):
        assert path in details
    assert "assumption: relative std over devices" in details
    assert "set by this preset" in details
    assert fa.from_json(run("presets", "hermes", "--json").stdout) == fa.presets.hermes()
    assert "did you mean 'hermes'" in refused("presets", "herms")
    assert "NAME" in refused("presets", "--json")


@pytest.mark.parametrize(
    "kind", [ADC, DAC, Circuit, CoreConfig, Drift, MeltQuench, ReadNoise, Wires]
)
def test_every_number_has_a_source(kind: type) -> None:
    """But for what stands for a part, whose own docstring says it."""
    comments = cli_info.field_comments(kind)
    for item in dataclasses.fields(kind):
        part = dataclasses.is_dataclass(cli_info.default_of(item))
        assert part or comments[item.name], item.name


def test_options_name_all_presets_and_methods() -> None:
    text = " ".join(run("program", "--help").stdout.split())
    for name in (*cli_options.presets(), *cli_options.METHODS):
        assert name in text


def test_version() -> None:
    text = run("--version").stdout
    for word in ("fastaimc", "python", "numpy", "numba", "scipy", "BLAS", "threading layer"):
        assert word in text
    assert np.__version__ in text


# -- the whole ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["program", "info", "presets"])
def test_help_has_examples(command: str) -> None:
    assert f"fastaimc {command}" in run(command, "--help").stdout.split("Examples:")[1]


def test_unknown_commands_and_options() -> None:
    assert "bogus" in refused("bogus")
    assert "--bogus" in refused("--bogus")
    assert "Usage" in run(code=2).output


def test_messages_stay_short_and_obey_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    cli_options.say("Error: " + "x" * 10_000 + "\x1b[2J\n" * 20 + "end")
    text = capsys.readouterr().err
    assert len(text) < 500
    assert len(text.splitlines()) <= 5
    assert "\x1b" not in text


@pytest.mark.parametrize("args", [["--help"], ["program", "--help"], ["presets"]])
def test_help_loads_nothing_heavy(args: list[str]) -> None:
    unwanted = ["numba", "llvmlite", "scipy", "matplotlib"]
    unwanted += ["numpy"] if "--help" in args else []
    loaded = subprocesses.run(
        f"""
        import json, sys
        from fastaimc.cli import app
        try:
            app({args!r}, prog_name="fastaimc")
        except SystemExit as end:
            assert not end.code, end.code
        print()
        print(json.dumps([name for name in {unwanted!r} if name in sys.modules]))
        """
    )
    assert loaded == []


def test_the_module_runs(tmp_path: Path) -> None:
    code = "import runpy, sys; sys.argv = ['fastaimc', 'info', 'gone']; "
    done = subprocesses.start(code + "runpy.run_module('fastaimc', run_name='__main__')")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: 'gone'")
    assert "Traceback" not in done.stderr
