"""What the tests against the archives of tests/golden share: their tolerance, and their names for our parameters."""

from torch import Tensor, nn
from torch.testing import assert_close

VAE_LAYERS = {
    "encoder.1": "encoder.linear_hidden0",
    "encoder.3": "encoder.linear_hidden1",
    "posterior_part.mu": "encoder.linear_mu",
    "posterior_part.log_var": "encoder.linear_logvar",
    "decoder.0": "decoder.linear_hidden0",
    "decoder.2": "decoder.linear_hidden1",
    "decoder.4": "decoder.linear_mu",
}


def close(actual: Tensor, expected: Tensor) -> None:
    assert_close(actual, expected, rtol=1e-9, atol=1e-9)


def load(model: nn.Module, names: dict[str, str], weights: dict[str, Tensor], prefix: str) -> None:
    """Sets every parameter of the model; `names` maps our parameters' names to the archive's."""
    assert set(names) == {key for key, _ in model.named_parameters()}
    model.load_state_dict({ours: weights[prefix + theirs] for ours, theirs in names.items()}, strict=False)


def of_layers(layers: dict[str, str]) -> dict[str, str]:
    """Names of the weights and biases of layers."""
    return {f"{ours}.{p}": f"{theirs}.{p}" for ours, theirs in layers.items() for p in ("weight", "bias")}


def gradients_are(model: nn.Module, names: dict[str, str], g: dict[str, Tensor]) -> None:
    for key, parameter in model.named_parameters():
        close(parameter.grad, g[f"g.{names[key]}"])


def parameters_are(model: nn.Module, names: dict[str, str], g: dict[str, Tensor], prefix: str) -> None:
    for key, parameter in model.named_parameters():
        close(parameter.detach(), g[prefix + names[key]])
