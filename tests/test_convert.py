"""Models onto ideal cores give what they gave before; what is converted stays a normal module."""

import copy
import io
import json
import pickle
from typing import Any

import numpy as np
import pytest
from extras import Answers, torch_or_skip
from rich.console import Console
from tolerances import NETWORK_OF_IDEAL, digital_between

import fastaimc as fa
from fastaimc.errors import InputError

torch = torch_or_skip()
nn = torch.nn

IDEAL = fa.presets.ideal()
HERMES = fa.override(fa.presets.hermes(), {"rows": 32, "columns": 32})
STATISTICS = fa.override(fa.presets.hermes_statistics(), {"rows": 32, "columns": 32})


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    """No gradients: these models infer."""
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def ideal(model: Any, **more: Any) -> Any:
    return fa.convert(model, IDEAL, engine="reference", threads=1, **more)


def noisy(model: Any, **more: Any) -> Any:
    """On cores written by their statistics: noise, and no programming to wait for."""
    more = {"input_range": 3.0} | more
    return fa.convert(model, STATISTICS, engine="reference", threads=1, **more)


def agree(found: Any, wanted: Any, tolerance: float = NETWORK_OF_IDEAL) -> None:
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    assert float((found - wanted).abs().max()) <= tolerance * float(wanted.abs().max())


def norm(kind: Any, channels: int) -> Any:
    """A batch norm that has seen data."""
    module = kind(channels)
    module.running_mean.normal_()
    module.running_var.uniform_(0.5, 2)
    module.weight.uniform_(0.5, 2)
    module.bias.normal_()
    return module


def perceptron() -> Any:
    parts = [nn.Linear(20, 40, bias=False), norm(nn.BatchNorm1d, 40), nn.ReLU(), nn.Dropout()]
    return nn.Sequential(*parts, nn.Linear(40, 7)).eval()


def small_net() -> Any:
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, bias=False),
        norm(nn.BatchNorm2d, 8),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=4),
        norm(nn.BatchNorm2d, 12),
        nn.ReLU(),
        nn.Conv2d(12, 6, (1, 3), dilation=2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 5),
    ).eval()


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("make", [perceptron, small_net])
def test_an_ideal_core_gives_the_digital_outputs(make: Any, fold: bool) -> None:
    model = make()
    x = torch.randn(5, 20) if make is perceptron else torch.randn(5, 4, 11, 10)
    converted = ideal(model, fold=fold)
    agree(converted(x), model(x))
    norms = [m for m in converted.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert bool(norms) is not fold


@pytest.mark.parametrize("engine", ["numba", "reference"])
def test_engines_and_groups_and_modes(engine: str) -> None:
    for padding_mode in ("zeros", "reflect", "replicate", "circular"):
        for padding in ("same", "valid", (2, 1)):
            conv = nn.Conv2d(
                4, 6, (3, 4), padding=padding, dilation=(1, 2), padding_mode=padding_mode
            )
            x = torch.randn(2, 4, 9, 9)
            converted = fa.convert(conv.eval(), IDEAL, engine=engine, threads=1)
            agree(converted(x), conv(x))
            agree(converted(x[0]), conv(x[0]))
            assert converted(x[:0]).shape == conv(x[:0]).shape


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_signals(groups: int) -> None:
    conv = nn.Conv1d(6, 12, 5, stride=3, padding=4, dilation=2, groups=groups).eval()
    x = torch.randn(3, 6, 30)
    converted = ideal(conv)
    agree(converted(x), conv(x))
    agree(converted(x[0]), conv(x[0]))
    assert len(converted.matrices) == groups


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_transformer_encoder(norm_first: bool) -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, norm_first=norm_first)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    x = torch.randn(3, 6, 16)
    nested = copy.deepcopy(model)
    nested.use_nested_tensor = True  # its fused path would ask for weights that are gone
    converted = ideal(nested)
    agree(converted(x), model(x))
    mask = torch.zeros(3, 6, dtype=torch.bool)
    mask[0, 4:] = True
    agree(converted(x, src_key_padding_mask=mask), model(x, src_key_padding_mask=mask))
    assert not converted.use_nested_tensor
    causal = nn.Transformer.generate_square_subsequent_mask(6)
    agree(converted(x, mask=causal, is_causal=True), model(x, mask=causal, is_causal=True))


@pytest.mark.parametrize("batch_first", [True, False])
def test_attention_between_widths(batch_first: bool) -> None:
    options = {"kdim": 6, "vdim": 10, "add_bias_kv": True, "add_zero_attn": True}
    model = nn.MultiheadAttention(8, 2, batch_first=batch_first, **options).eval()
    q, k, v = torch.randn(3, 3, 8), torch.randn(3, 3, 6), torch.randn(3, 3, 10)
    converted = ideal(model)
    for averaged in (True, False):
        found = converted(q, k, v, average_attn_weights=averaged)
        for one, other in zip(found, model(q, k, v, average_attn_weights=averaged), strict=True):
            agree(one, other)
    plain = nn.MultiheadAttention(8, 2, bias=False).eval()
    found, weights = ideal(plain)(q[0], q[0], q[0], need_weights=False)
    agree(found, plain(q[0], q[0], q[0])[0])
    assert weights is None


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_precisions(dtype: str) -> None:
    kind = getattr(torch, dtype)
    model = small_net().to(kind)
    x = torch.randn(4, 4, 11, 10).to(kind)
    exact = copy.deepcopy(model).double()(x.double())
    found = ideal(model, fold=False)(x)
    assert found.dtype == kind
    agree(found.double(), exact, digital_between(torch.finfo(kind).eps))


def test_channels_last() -> None:
    model = nn.Conv2d(4, 6, 3).eval()
    x = torch.randn(2, 4, 7, 7)
    last = x.to(memory_format=torch.channels_last)
    converted = ideal(model.to(memory_format=torch.channels_last))
    agree(converted(last), model(last))
    assert converted(last).is_contiguous(memory_format=torch.channels_last)
    assert converted(x).is_contiguous()
    with torch.inference_mode():
        agree(converted(last), model(last))


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (3, 10_000), (1, 1)])
def test_odd_layers(shape: tuple[int, int]) -> None:
    model = nn.Linear(shape[1], shape[0]).eval()
    x = torch.randn(2, shape[1])
    agree(ideal(model)(x), model(x))
    assert ideal(model)(x[:0]).shape == (0, shape[0])
    nn.init.zeros_(model.weight)
    agree(noisy(model)(x), model(x))


def test_weights_in_two_places_are_programmed_once() -> None:
    first, second = nn.Linear(8, 8), nn.Linear(8, 8)
    second.weight = first.weight
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), first).eval()
    converted = noisy(model)
    assert converted[0].matrices[0] is converted[2].matrices[0]
    assert converted[0] is converted[4]
    copied = copy.deepcopy(converted)
    assert copied[0].matrices[0] is copied[2].matrices[0]
    assert copied[0].matrices[0] is not converted[0].matrices[0]
    report = fa.network.report(converted, samples=10)
    assert [layer.shares for layer in report.layers] == [None, "0"]
    assert report.tiles == 1
    agree(ideal(model)(torch.eye(8)), model(torch.eye(8)))


def test_a_pair_is_folded_by_name() -> None:
    class Block(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 4, 3), norm(nn.BatchNorm2d, 4)

        def forward(self, x: Any) -> Any:
            return self.bn(self.conv(x))

    model = Block().eval()
    x = torch.randn(2, 3, 6, 6)
    converted = ideal(model, fold=[("conv", "bn")])
    assert isinstance(converted.bn, nn.Identity)
    agree(converted(x), model(x))
    assert isinstance(ideal(model).bn, nn.BatchNorm2d)
    for wrong in (("conv", "no"), "conv", ("bn", "conv")):
        with pytest.raises(InputError, match="fold must"):
            ideal(model, fold=[wrong])
    with pytest.raises(InputError, match="fold must be True, False or pairs"):
        ideal(model, fold="conv")


# -- a normal module -----------------------------------------------------------------------------


def test_noise_follows_the_numbers() -> None:
    """The state has them; a copy, a pickle and a loaded state go on alike."""
    model = small_net()
    x = torch.randn(3, 4, 11, 10)
    converted = noisy(model)
    state = copy.deepcopy(converted.state_dict())
    copied, packed = copy.deepcopy(converted), pickle.dumps(converted)
    first, second = converted(x), converted(x)
    assert not torch.equal(first, second)
    assert torch.equal(copied(x), first)
    assert torch.equal(pickle.loads(packed)(x), first)
    saved = io.BytesIO()
    torch.save(state, saved)
    saved.seek(0)
    converted.load_state_dict(torch.load(saved, weights_only=True))
    assert torch.equal(converted(x), first)
    fa.network.seek(converted, 0)
    assert torch.equal(converted(x), first)
    fa.network.seek(converted, 10_000)
    assert not torch.equal(converted(x), first)
    digital = torch.nn.Sequential(*converted[3:])
    digital.load_state_dict(digital.state_dict())
    with pytest.raises(InputError, match="state_dict must have 4 numbers"):
        converted[3].set_extra_state(torch.zeros(2))


def test_a_batch_and_single_calls_use_the_same_noise() -> None:
    converted = noisy(nn.Conv2d(2, 3, 3).eval())
    x = torch.randn(4, 2, 5, 5)
    whole = converted(x)
    fa.network.seek(converted, 0)
    parts = torch.cat([converted(one) for one in x.split(1)])
    agree(parts, whole, 1e-6)


def test_time_goes_on() -> None:
    converted = noisy(perceptron())
    later = fa.network.at(converted, 86400.0)
    assert [m.time_s for m in later[0].matrices] == [86400.0]
    assert converted[0].matrices[0].time_s == STATISTICS.t_eval_s
    direct = converted[0].matrices[0].at(86400.0)
    x = torch.randn(4, 20)
    wanted = direct.mvm(x.numpy(), draw=0) + converted[0].bias.numpy()
    np.testing.assert_array_equal(later[0](x).numpy(), wanted)
    with pytest.raises(fa.ConfigError, match="seconds must be >= 0"):
        fa.network.at(converted, -1.0)


def test_the_original_is_left_alone() -> None:
    model = small_net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    converted = noisy(model)
    converted(torch.randn(1, 4, 11, 10))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert "3._extra_state" in converted.state_dict()
    assert not any(name.endswith("0.weight") for name in converted.state_dict())


def test_workers_of_a_loader() -> None:
    """In another process a model answers as it does in this one."""
    data = Answers(noisy(perceptron()), torch.randn(6, 20).unsqueeze(1))
    here = torch.stack([data[index] for index in range(len(data))])
    loader = torch.utils.data.DataLoader(
        data, batch_size=3, num_workers=1, multiprocessing_context="spawn"
    )
    assert torch.equal(torch.cat(list(loader)), here)


# -- on cores ------------------------------------------------------------------------------------


def test_programmed_by_gradient_descent() -> None:
    """All of it: calibrated, programmed as one stack, and nearly what it was."""
    model = perceptron()
    batches = [torch.randn(32, 20) for _ in range(3)]
    method = fa.GradientDescentProgramming(iterations=10, batch=32, final_passes=1)
    converted = fa.convert(model, HERMES, method, seed=3, calibration=batches, threads=1)
    x = torch.randn(200, 20)
    error = float((converted(x) - model(x)).norm() / model(x).norm())
    assert 0.005 < error < 0.2
    assert converted[0].matrices[0].input_range == pytest.approx(
        max(float(batch.abs().max()) for batch in batches), rel=0.01
    )
    report = fa.network.report(converted, samples=50)
    assert [layer.tiles for layer in report.layers] == [2, 2]
    assert report.tiles == 4
    assert report.utilisation == (40 * 20 + 7 * 40) / (4 * 32 * 32)
    assert report.cost.pulses_set == sum(
        layer.matrices[0].cost.pulses_set for layer in (converted[0], converted[4])
    )
    assert report.layers[0].error == fa.mvm_error(converted[0].matrices[0], 50)


def test_a_report_is_a_table_and_json() -> None:
    model = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.Flatten(), nn.Linear(96, 40)).eval()
    report = fa.network.report(noisy(model), samples=10)
    whole = json.loads(json.dumps(report.as_dict()))
    first, last = whole["layers"]
    assert (first["name"], first["matrices"], first["shape"]) == ("0", 2, [3, 18])
    assert (last["kind"], last["tiles"], whole["tiles"]) == ("Linear", 6, 8)
    assert first["utilisation"] == 2 * 3 * 18 / (2 * 32 * 32)
    assert whole["cost"]["mvm_equivalents"] == 0
    out = io.StringIO()
    Console(file=out, width=80).print(report)
    words = out.getvalue().split()
    assert {"Conv2d", "Linear", "40×96", "all"} <= set(words)
    assert "2 of 3×18" in out.getvalue()
    assert "…" not in out.getvalue()
