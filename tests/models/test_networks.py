"""Encoders and decoders: the replication's parameter counts, the shapes of five image sizes, the three inits."""

import math

import pytest
import torch
from shapes import shape_for
from torch import Tensor, nn
from torch.testing import assert_close

import models
from models.base import assemble
from models.gaussian import GaussianPosterior, StandardPrior
from models.networks import ACTIVATIONS, NETWORKS, Encoder, gates, initialise, vamp_conv
from models.vlae import LaplacePosterior

NETWORKS_BY_WIDTH = ["mlp", "conv", "gated", "vamp_conv"]
IMAGE_SHAPES = [(1, 8, 8), (1, 28, 28), (1, 28, 20), (1, 9, 14), (3, 32, 32), (3, 64, 64)]

COUNTS = [  # papers/vsc.md, section 4: of the replication's own modules
    ("vsc", (1, 28, 28), {"latent": 200, "hidden": 400}, 949_384),
    ("vae", (1, 28, 28), {"latent": 200, "hidden": 400}, 869_184),
    ("vsc", (1, 28, 28), {"latent": 8, "hidden": 400}, 641_608),
    ("vsc", (3, 32, 32), {"latent": 800, "hidden": [2000, 2000]}, 26_701_472),
    ("vsc", (3, 64, 64), {"latent": 200, "hidden": 256, "network": "conv"}, 963_995),
    ("vsc", (3, 64, 64), {"latent": 32, "hidden": 256, "network": "conv"}, 791_459),
    ("vsc", (1, 64, 64), {"latent": 100, "hidden": 256, "network": "conv"}, 859_245),
    ("vae", (1, 64, 64), {"latent": 10, "hidden": 256, "network": "conv"}, 764_245),
    ("vae", (3, 64, 64), {"latent": 32, "hidden": 256, "network": "conv"}, 783_235),
]


@pytest.mark.parametrize(("name", "image_shape", "settings", "count"), COUNTS)
def test_parameter_counts_equal_the_replication(name, image_shape, settings, count):
    with torch.device("meta"):  # counts need no numbers
        model = models.build(name, image_shape, **settings)
    assert sum(p.numel() for p in model.parameters()) == count


PUBLISHED = [  # papers/nonsyn-vae.md, section 4: encoder and decoder of the authors' own modules, ten latents
    ("dsprites", (1, 64, 64), 249_172, 248_833),
    ("celeba", (3, 64, 64), 383_956, 382_339),
]


@pytest.mark.parametrize("name", ["vae", "nonsyn", "factor"])
@pytest.mark.parametrize(("network", "image_shape", "encoder", "decoder"), PUBLISHED)
def test_parameter_counts_equal_the_published_networks(name, network, image_shape, encoder, decoder):
    with torch.device("meta"):
        model = models.build(name, image_shape, network=network, latent=10)
    counts = [sum(p.numel() for p in part.parameters()) for part in (model.encoder, model.posterior_part)]
    assert sum(counts) == encoder
    assert sum(p.numel() for p in model.decoder.parameters()) == decoder


def test_the_published_layers_one_after_the_other():
    sprites, faces = NETWORKS["dsprites"]((1, 64, 64), 10, 1, 7, None), NETWORKS["celeba"]((3, 64, 64), 10, 3, 7, None)
    down, up = [nn.Conv2d, nn.ReLU] * 4, [nn.ConvTranspose2d, nn.ReLU] * 3
    back = [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Unflatten, *up, nn.ConvTranspose2d]
    assert [type(layer) for layer in sprites[0]] == [*down, nn.Flatten, nn.Linear]  # no ReLU after the last
    assert [type(layer) for layer in faces[0]] == [*down, nn.Flatten, nn.Linear, nn.ReLU]
    for (encoder, decoder), pixels in ((sprites, 1), (faces, 3)):
        assert [type(layer) for layer in decoder] == back
        convolutions = [layer for layer in (*encoder, *decoder) if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
        shapes = {(layer.kernel_size, layer.stride, layer.padding) for layer in convolutions}
        assert shapes == {((4, 4), (2, 2), (1, 1))}
        assert [layer.out_channels for layer in convolutions] == [32, 32, 64, 64, 64, 32, 32, pixels]


@pytest.mark.parametrize("network", ["dsprites", "celeba"])
def test_the_published_networks_take_their_size_only(network):
    with pytest.raises(models.ModelError, match=f"'{network}' is for images of 64x64 pixels, got 28x28; 'conv' takes"):
        models.build("vae", (1, 28, 28), network=network)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("key", ["hidden", "decoder_hidden"])
def test_a_width_that_a_network_does_not_read_is_idle(network, key):
    def count(width: int) -> int:
        with torch.device("meta"):
            model = models.build("vae", (1, 64, 64), network=network, **{"hidden": 8, "decoder_hidden": 8, key: width})
        assert (key in models.in_use(model)) == (network not in ("dsprites", "celeba"))
        return sum(p.numel() for p in model.parameters())

    assert (count(8) == count(9)) == (key in models.idle("vae", {"network": network}))


def test_a_model_that_reads_a_width_beside_its_network_says_so():
    def count(**sizes) -> int:
        with torch.device("meta"):
            model = models.build("hvae", (1, 64, 64), network="dsprites", pseudo_inputs=1, **sizes)
        return sum(p.numel() for p in model.parameters())

    assert count(hidden=8) != count(hidden=9)
    assert count(decoder_hidden=8) == count(decoder_hidden=9)
    assert {"hidden", "decoder_hidden"} & models.idle("hvae", {"network": "dsprites"}) == {"decoder_hidden"}


@pytest.mark.parametrize("side", [8, 28, 64])
@pytest.mark.parametrize("name", models.names())
def test_every_model_builds_at_every_usual_size(name, side):
    shape = shape_for(name, (1, side, side))
    with torch.device("meta"):
        model = models.build(name, shape)
    assert model.image_shape == shape


REPLICATION = [  # papers/vampprior.md, section 4: one level, latent 2, in millions, as there
    (1, 0.42, 0.02),
    (2, 0.85, 0.06),
    (4, 1.80, 0.17),
    (8, 3.99, 0.60),
    (16, 9.54, 2.22),
]


@pytest.mark.parametrize(("size", "of_encoder", "of_decoder"), REPLICATION)
def test_parameter_counts_equal_the_vampprior_replication(size, of_encoder, of_decoder):
    with torch.device("meta"):
        encoder, decoder = vamp_conv((1, 28, 28), 2, 1, 256, None, network_size=size)
        heads = GaussianPosterior(encoder.features, 2)
    counts = [sum(p.numel() for module in half for p in module.parameters()) for half in ((encoder, heads), (decoder,))]
    assert [round(count / 1e6, 2) for count in counts] == [of_encoder, of_decoder]


def test_a_gated_layer_is_a_product_with_a_sigmoid():
    layer, gate = gates([5, 3])
    h, g = layer.weight.chunk(2)
    b, c = layer.bias.chunk(2)
    x = torch.randn(4, 5)
    assert_close(gate(layer(x)), (x @ h.T + b) * (x @ g.T + c).sigmoid())


@pytest.mark.parametrize("activation", ["relu", "elu", "silu", "tanh"])
def test_the_replications_activation_stands_behind_every_layer_but_the_last_and_the_decoders_first(activation):
    encoder, decoder = vamp_conv((1, 8, 8), 2, 1, (9, 7), None, network_size=0.5, activation=activation)
    kind = ACTIVATIONS[activation]
    assert [isinstance(layer, kind) for layer in encoder if not list(layer.parameters())] == [True] * 4 + [
        False,
        True,
        True,
    ]
    last = [layer for layer in decoder if not list(layer.parameters()) and not isinstance(layer, nn.Unflatten)]
    assert [type(layer) for layer in last] == [nn.ReLU, kind, kind, kind, kind]


@pytest.mark.parametrize("network", NETWORKS_BY_WIDTH)
@pytest.mark.parametrize("image_shape", IMAGE_SHAPES, ids=str)
@pytest.mark.parametrize("parameters_per_pixel", [1, 2])
def test_output_shapes(network, image_shape, parameters_per_pixel):
    channels = parameters_per_pixel * image_shape[0]
    encoder, decoder = NETWORKS[network](image_shape, 5, channels, (24, 16), None)
    assert encoder(torch.rand(2, *image_shape)).shape == (2, encoder.features) == (2, 16)
    assert decoder(torch.randn(2, 5)).shape == (2, channels, *image_shape[1:])


@pytest.mark.parametrize("network", NETWORKS_BY_WIDTH)
def test_the_code_reaches_every_pixel_and_every_pixel_the_code(network):
    image_shape = (2, 28, 20)
    encoder, decoder = NETWORKS[network](image_shape, 5, 2, (64,), None)

    def reached(f: nn.Module, point: Tensor) -> Tensor:
        """The Jacobian's absolute sums, by output and by input."""
        jacobian = torch.autograd.functional.jacobian(lambda p: f(p[None]).flatten(), point).flatten(1).abs()
        return torch.cat([jacobian.sum(0), jacobian.sum(1)])

    images, codes = torch.rand(4, *image_shape), torch.randn(4, 5)
    pixels = math.prod(image_shape)
    assert (sum(reached(encoder, x) for x in images)[:pixels] > 0).all()  # of four points: a ReLU may be off at one
    assert (sum(reached(decoder, z) for z in codes) > 0).all()


@pytest.mark.parametrize("hidden", [(), 7, (9, 7), [9, 7]])
def test_hidden_widths_may_be_none_one_or_many(hidden):
    model = models.build("vae", (1, 8, 8), latent=3, hidden=hidden)
    widths = [layer.out_features for layer in model.encoder if isinstance(layer, nn.Linear)]
    mirrored = [layer.out_features for layer in model.decoder if isinstance(layer, nn.Linear)]
    assert widths == ([hidden] if isinstance(hidden, int) else list(hidden))
    assert mirrored == [*widths[::-1], 64]


def test_the_decoder_may_have_widths_of_its_own():
    model = models.build("vae", (1, 8, 8), latent=3, hidden=(9, 7), decoder_hidden=(5, 6))
    assert [layer.out_features for layer in model.decoder if isinstance(layer, nn.Linear)] == [5, 6, 64]


@pytest.mark.parametrize(
    ("side", "maps"),
    [(8, [64]), (16, [64, 64]), (28, [32, 64, 64]), (64, [32, 32, 64, 64]), (128, [32, 32, 32, 64, 64])],
)
def test_convolutions_follow_the_image_size(side, maps):
    encoder, decoder = NETWORKS["conv"]((3, side, side), 5, 3, 16, None)
    down = [layer.out_channels for layer in encoder if isinstance(layer, nn.Conv2d)]
    up = [layer.out_channels for layer in decoder if isinstance(layer, nn.ConvTranspose2d)]
    assert (down, up) == (maps, [*maps[-2::-1], 3])


@pytest.mark.parametrize("image_shape", [(1, 1, 5), (1, 4, 4), (1, 28, 3)])
def test_images_too_small_for_convolutions_are_refused(image_shape):
    height, width = image_shape[1:]
    with pytest.raises(models.ModelError, match=f"'conv' needs images of at least 5x5 pixels, got {height}x{width}"):
        models.build("vae", image_shape, network="conv")


LAYERS = [
    lambda: nn.Linear(300, 200),
    lambda: nn.Conv2d(20, 30, 4),
    lambda: nn.ConvTranspose2d(20, 30, 4),
]


@pytest.mark.parametrize("make", LAYERS)
def test_init_torch_changes_nothing(make):
    layer = make()
    weight, bias = layer.weight.clone(), layer.bias.clone()
    initialise(layer, "torch")
    assert torch.equal(layer.weight, weight)
    assert torch.equal(layer.bias, bias)


@pytest.mark.parametrize("make", LAYERS)
def test_init_glorot_is_keras(make):
    layer = make()
    initialise(layer, "glorot")
    a, b = layer.weight.shape[:2]
    fields = math.prod(layer.weight.shape[2:])
    assert_uniform(layer.weight, math.sqrt(6 / ((a + b) * fields)))
    assert_close(layer.bias, torch.zeros_like(layer.bias))


def test_init_vlae_is_kaiming_by_fan_out_on_linear_weights_alone():
    linear, conv = LAYERS[0](), LAYERS[1]()
    bias, kernel = linear.bias.clone(), conv.weight.clone()
    initialise(nn.Sequential(linear, conv), "vlae")
    gain = math.sqrt(2 / (1 + 2 ** (2 / 3)))  # of a leaky ReLU whose slope is 2^(1/3)
    assert_uniform(linear.weight, gain * math.sqrt(3 / 200))
    assert torch.equal(linear.bias, bias)
    assert torch.equal(conv.weight, kernel)


def test_init_he_is_normal_by_fan_in_on_linear_weights_alone():
    linear, conv = LAYERS[0](), LAYERS[1]()
    bias, kernel = linear.bias.clone(), conv.weight.clone()
    initialise(nn.Sequential(linear, conv), "he")
    assert linear.weight.var().item() == pytest.approx(2 / 300, rel=4 * math.sqrt(2 / linear.weight.numel()))
    assert torch.equal(linear.bias, bias)
    assert torch.equal(conv.weight, kernel)


def assert_uniform(weight: Tensor, bound: float) -> None:
    """All within the bound, and of its variance, bound^2 / 3, to 4 standard errors."""
    assert weight.abs().max() <= bound * (1 + 1e-6)
    relative_error = math.sqrt(4 / 5 / weight.numel())  # a uniform's fourth moment is 9/5 of its squared second
    assert weight.square().mean().item() == pytest.approx(bound**2 / 3, rel=4 * relative_error)


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("name", models.names())
def test_every_model_hands_its_init_on(name, network):
    def weights(init: str) -> Tensor:
        torch.manual_seed(0)
        model = models.build(name, shape_for(name), latent=3, hidden=8, network=network, init=init)
        return torch.cat([layer.weight.flatten() for layer in model.modules() if isinstance(layer, nn.Linear)])

    torch_, vlae, glorot = weights("torch"), weights("vlae"), weights("glorot")
    assert not torch.equal(torch_, vlae)
    assert not torch.equal(torch_, glorot)
    assert not torch.equal(vlae, glorot)


def test_a_papers_own_networks_are_taken_as_they_are():
    def ring(image_shape, latent, channels):
        encoder = Encoder(nn.Flatten(), nn.Linear(math.prod(image_shape), 7), nn.Tanh(), features=7)
        decoder = nn.Sequential(
            nn.Linear(latent, math.prod(image_shape)), nn.Unflatten(1, (channels, *image_shape[1:]))
        )
        return encoder, decoder

    model = assemble(
        (1, 8, 8), latent=3, posterior=lambda f: GaussianPosterior(f, 3), prior=StandardPrior(3), network=ring
    )
    assert model.elbo(torch.rand(5, 1, 8, 8)).log_lik.shape == (5,)
    assert isinstance(model.encoder[2], nn.Tanh)


def test_a_laplace_posterior_refuses_a_decoder_whose_jacobian_it_does_not_know():
    def smooth(image_shape, latent, channels):
        encoder, decoder = NETWORKS["mlp"](image_shape, latent, channels, (6,), None)
        return encoder, nn.Sequential(nn.Linear(latent, 4), nn.Tanh(), *decoder[2:])

    with pytest.raises(ValueError, match="Jacobian, and none is known of the layer Tanh; known are Linear, ReLU"):
        assemble(
            (1, 8, 8), latent=3, posterior=lambda f: LaplacePosterior(f, 3), prior=StandardPrior(3), network=smooth
        )


@pytest.mark.parametrize("network", NETWORKS)
def test_pairs_of_images_are_refused_by_networks_for_single_ones(network):
    with pytest.raises(models.ModelError, match=r"takes single images, \[C, H, W\], got \[2, 1, 8, 8\]"):
        models.build("vae", (2, 1, 8, 8), network=network)
