"""What cannot be converted, calibrated or run is told in one clear message."""

from typing import Any

import pytest
from extras import torch_or_skip

import fastaimc as fa
from fastaimc.errors import InputError

torch = torch_or_skip()
nn = torch.nn

IDEAL = fa.presets.ideal()
STATISTICS = fa.presets.hermes_statistics()


def convert(model: Any, config: Any = STATISTICS, **more: Any) -> Any:
    return fa.convert(model, config, engine="reference", threads=1, **more)


def refused(model: Any, match: str, config: Any = STATISTICS, **more: Any) -> None:
    with pytest.raises(InputError, match=match):
        convert(model, config, **more)


def linear() -> Any:
    return nn.Linear(4, 3).eval()


def test_models_that_cannot_be() -> None:
    refused("model", "model must be a torch.nn.Module, got str")
    refused(nn.Linear(4, 3), r"model must be in evaluation mode: call model.eval\(\)")
    half = nn.Sequential(nn.Linear(4, 3)).eval()
    half[0].train()
    refused(half, r"evaluation mode \(its part '0' trains\)")
    refused(nn.Linear(4, 3, device="meta").eval(), "must be on the CPU, got 'weight' on meta")
    refused(nn.LazyLinear(3).eval(), "model must have its shapes, 'weight' is lazy: run it once")
    refused(
        nn.Sequential(nn.ReLU()).eval(), "must have a layer of Linear, .*, got Sequential", IDEAL
    )
    refused(convert(linear(), IDEAL), "must not be converted already: it is analog")
    twice = nn.Sequential(convert(linear(), IDEAL)).eval()
    refused(twice, "must not be converted already: 0 is analog")
    broken = linear()
    nn.init.constant_(broken.weight, float("nan"))
    refused(broken, "weights of 'model' must be finite", IDEAL)


def test_calibrations_that_cannot_be() -> None:
    refused(linear(), "calibration must hold a few batches of inputs.*or give input_range")
    one = [torch.zeros(2, 4)]
    refused(linear(), "input_range must not be given", calibration=one, input_range=1.0)
    refused(linear(), "calibration must hold at least one batch", calibration=[])
    refused(linear(), "must be a list or .* got Tensor", calibration=one[0])
    refused(linear(), "must be a list or .* got int", calibration=3)
    refused(linear(), "calibration must be finite", calibration=[one[0] / 0])
    refused(linear(), r"x must be \(..., 4\), got shape \(2, 5\)", calibration=[torch.zeros(2, 5)])
    with pytest.raises(fa.ConfigError, match="quantile must be > 0"):
        convert(linear(), calibration=one, quantile=0.0)

    class Half(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            return self.used(x)

    refused(Half().eval(), "must reach every layer, .* came to 'unused'", calibration=one)
    model = nn.Sequential(nn.Conv1d(4, 4, 1, groups=2), nn.Conv1d(4, 2, 1)).eval()
    refused(model, "an entry for each layer, none for '1'", input_range={"0": 1.0})
    refused(model, "must have names of layers, got '2'", input_range={"0": 1.0, "2": 1.0})
    refused(model, "input_range must be >= 1e-30", input_range=0.0)
    converted = convert(model, input_range={"0": 2.0, "0.1": 3.0, "1": 4.0})
    ranges = [matrix.input_range for layer in converted for matrix in layer.matrices]
    assert ranges == [2.0, 3.0, 4.0]


def test_batches_of_every_kind() -> None:
    class Sum(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Any, more: Any = 0) -> Any:
            return self.layer(x + more)

    x = torch.full((2, 4), 1.5)
    for batch in (x + x, (x, x), [x, x], {"x": x, "more": x}):
        converted = convert(Sum().eval(), calibration=iter([batch]))
        assert converted.layer.matrices[0].input_range == 3.0
    assert convert(linear(), calibration=[0 * x]).matrices[0].input_range == 1.0


def test_unsupported_layers_stay_digital_with_one_warning() -> None:
    class Own(nn.Linear):  # type: ignore[misc,name-defined]
        """It may compute something else."""

    model = nn.Sequential(
        nn.Embedding(5, 4), Own(4, 4), nn.LayerNorm(4), nn.Linear(4, 4), nn.LSTM(4, 2)
    ).eval()
    with pytest.warns(UserWarning, match=r"stay digital: 1 \(Own\), 4 \(LSTM\)") as told:
        converted = convert(model, IDEAL)
    assert len(told) == 1
    assert told[0].filename == __file__
    assert [type(part).__name__ for part in converted] == [
        *("Embedding", "Own", "LayerNorm", "AnalogLinear", "LSTM")
    ]


def test_inputs_that_cannot_be() -> None:
    dense, conv = convert(linear(), IDEAL), convert(nn.Conv2d(3, 2, 3).eval(), IDEAL)
    for match, layer, x in (
        (r"x must be \(..., 4\)", dense, torch.zeros(2, 5)),
        ("x must not hold NaN", dense, torch.full((2, 4), float("nan"))),
        ("must be on the CPU, got meta", dense, torch.zeros(2, 4, device="meta")),
        ("must be floating, got torch.int64", dense, torch.zeros(2, 4, dtype=torch.int64)),
        (r"must be \(3, height, width\) or a batch", conv, torch.zeros(1, 2, 5, 5)),
        ("at least as large as its kernel", conv, torch.zeros(1, 3, 2, 5)),
    ):
        with pytest.raises(InputError, match=match):
            layer(x)
    dense.train()
    with pytest.raises(InputError, match=r"a converted model only infers: call model.eval\(\)"):
        dense(torch.zeros(2, 4))
    dense.eval()(torch.zeros(2, 4))


def test_functions_need_a_converted_model() -> None:
    for call in (
        lambda model: fa.network.at(model, 1.0),
        lambda model: fa.network.seek(model, 1),
        fa.network.report,
    ):
        with pytest.raises(InputError, match="it has no analog layer"):
            call(linear())
        with pytest.raises(InputError, match="Module, got int"):
            call(3)
    with pytest.raises(fa.ConfigError, match="number must be from 0"):
        fa.network.seek(convert(linear(), IDEAL), -1)
