"""What is counted of a model's operations, against a count by hand."""

import re

import models
from benchmarks.flops import VARIED, count, main

FIRST, REST = 784 * 500, 2 * 500**2 + 3 * 500 * 50 + 500 * 784  # multiplications an image: the encoder's first layer


def test_a_step_of_vae_is_its_layers_forwards_and_twice_backwards():
    found = count("vae")
    assert found.evaluation == 2 * 128 * (FIRST + REST)
    assert found.step == 2 * 128 * (2 * FIRST + 3 * REST)  # images need no gradient


def test_a_gradient_through_an_update_of_vlae_takes_no_jacobian():
    """Forwards an update takes one; its gradient takes directions, each about as much as a pass through the decoder."""
    two, four = count("vlae", updates=2), count("vlae", updates=4)
    a_pass = 2 * 128 * (50 * 500 + 500**2 + 500 * 784)
    assert two.evaluation > 50 * a_pass
    assert four.step - two.step <= four.evaluation - two.evaluation + 2 * 9 * a_pass


def test_every_model_has_a_row(capsys):
    main()
    _, _, *rows = capsys.readouterr().out.splitlines()
    assert [re.match(r"\| (\w+)", row)[1] for row in rows] == [
        name for name in models.names() for _ in VARIED.get(name, [{}])
    ]
    assert all(re.fullmatch(r"\| [\w, ]+( \| \d+\.\d\d \| \d+\.\d){2} \|", row) for row in rows)
