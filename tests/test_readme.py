"""The README's Python runs and prints what the README says; its commands run, too."""

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import subprocesses
from extras import torch_or_skip
from safetensors.numpy import save_file

README = Path(__file__).resolve().parent.parent / "README.md"


def examples():
    return re.findall(r"```python\n(.*?)```\s*```text\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.parametrize(("code", "shown"), examples())
def test_the_examples_print_what_is_shown(code, shown):
    if "import torch" in code:
        torch_or_skip()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(README), "exec"), {})  # noqa: S102  it is our own text
    assert printed.getvalue() == shown


def commands():
    """Every line of the README that calls `fastaimc`, without its comment."""
    blocks = re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]


def test_the_commands_run(tmp_path):
    """In their order, in one folder, with the model that they name."""
    if any("--plot" in command for command in commands()):
        pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    weights = np.random.default_rng(0).standard_normal((24, 32)).astype("f4")
    save_file({"fc1.weight": weights, "fc2.weight": weights[:5]}, tmp_path / "model.safetensors")
    environment = os.environ | {"PYTHONPATH": str(subprocesses.tested_package())}
    assert len(commands()) >= 5
    for name, *arguments in commands():
        assert name == "fastaimc"
        done = subprocess.run(
            [sys.executable, "-P", "-m", "fastaimc", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout
    assert {path.name for path in tmp_path.iterdir()} >= {"errors.png", "model.fc1.weight.npz"}


def test_every_figure_has_its_command():
    """What an experiment writes into the README is what it wrote into its results."""
    text = README.read_text()
    for name in ("network", "read_range", "resnet9_cifar10"):
        assert f"python bench/experiments/{name}.py" in text
        assert (README.parent / "bench" / "experiments" / f"{name}.py").exists()
    results = README.parent / "bench" / "results"
    for name, file in (
        ("network", "network"),
        ("resnet9", "resnet9_cifar10_28-56-112-112"),
        ("resnet9_large", "resnet9_cifar10_64-128-256-512"),
    ):
        excerpt = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)
        assert excerpt is not None
        assert excerpt[1].strip() in (results / f"{file}.md").read_text()
    for link in re.findall(r"\]\(((?!http)[^)]*)\)", text):
        assert (README.parent / link).exists(), link


def figures():
    """What the README's sentences say, by what the experiments have measured."""
    results = README.parent / "bench" / "results"
    rows = json.loads((results / "read_range.json").read_text())["rows"]

    def mean(name, **labels):
        return np.mean([r[name] for r in rows if all(r[k] == v for k, v in labels.items())])

    gaussian = {"family": "Gaussian", "bits": 8}
    gdp = {"method": "GDP", "bits": 8, "range": "MVM"}
    fine = {"method": "IP", "bits": 8, "range": "0.129 µS"}
    uniform = [mean("residual", family="uniform", **method) for method in (gdp, fine)]
    control = [
        mean("residual", family=family, method="GDP", range="ideal")
        / mean("residual", family=family, method="IP", range="ideal")
        for family in {row["family"] for row in rows}
    ]
    dark = mean("residual", method="IP, dark reading", range="fs", **gaussian)
    ip = mean("residual", method="IP", range="fs", **gaussian)
    floor, left = (mean(name, family="Gaussian", **gdp) for name in ("floor", "residual"))
    _, perfect, seer, _ = re.search(
        r"\| (Gaussian) \| ([0-9.]+) .*?\| ([0-9.]+) .*?\| ([0-9.]+)",
        (results / "limit.md").read_text(),
    ).groups()
    yield from transferred(json.loads((results / "transfer.json").read_text()))
    yield f"from {dark:.3f} to {ip:.3f} on Gaussian weights"
    yield f"({floor:.3f} of Gaussian weights' {left:.3f})"
    yield f"a fine range ({uniform[0] / uniform[1]:.2f})"
    yield f"end at the same error ({min(control):.2f} to {max(control):.2f})"
    yield f"leaves {perfect} on Gaussian weights"
    yield f"will have drifted {seer} "


def transferred(found):
    """What it says of sets that are carried over."""

    def loss(target):
        errors = found["errors"][target]
        return 100 * (np.mean(np.divide(errors["Gaussian"], errors[target])) - 1)

    alike = ("weights", "size", "trained layers")
    losses = {name: loss(name) for name in found["errors"] if found["sets"][name]["kind"] in alike}
    scatter, *others = (loss(name) for name in ("scatter × 2", "calibrated", "accumulative"))
    yield f"at most {max(losses.values()):.1f} % more error than a target's own"
    yield f"it loses {scatter:.1f} %, on the calibrated devices {others[0]:.0f} %"
    yield f"on accumulating ones {others[1]:.0f} %"


def test_the_figures_in_its_sentences_are_measured():
    text = " ".join(README.read_text().split())
    for figure in figures():
        assert figure in text, figure
