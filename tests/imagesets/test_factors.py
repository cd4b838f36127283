import numpy as np
import pytest

from imagesets import dsprites, factors, sprites
from imagesets.factors import FACTORS

SIZES = [1, 3, 6, 40, 32, 32]


@pytest.fixture(scope="module")
def full():
    """What is stored of the split of the full grid."""
    made = {}

    def new(name, shape, dtype):
        made[name] = np.full(shape, -1, dtype)
        return made[name]

    factors.fill(new, sprites.INFO, [np.arange(size) for size in SIZES])
    return made


def test_values_are_those_of_dsprites():
    assert [len(values) for values in FACTORS.values()] == SIZES
    assert [values[0] for values in FACTORS.values()] == [1, 1, 0.5, 0, 0, 0]  # latents_values[0]
    assert [values[-1] for values in FACTORS.values()] == [1, 3, 1, 2 * np.pi, 1, 1]
    np.testing.assert_allclose(FACTORS["scale"], [0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    np.testing.assert_allclose(FACTORS["orientation"][[1, 2, 38]], [0.16110732, 0.32221463, 6.12207799])
    np.testing.assert_allclose(FACTORS["pos_x"][[1, 30]], [0.03225806, 0.96774194], atol=1e-8)
    np.testing.assert_array_equal(FACTORS["pos_x"], FACTORS["pos_y"])


@pytest.mark.parametrize("module", [sprites, dsprites])
def test_info_has_the_sizes_of_the_full_grid(module):
    assert module.INFO.factors == dict(zip(FACTORS, SIZES))
    assert (module.INFO.train, module.INFO.valid, module.INFO.test) == (663_552, 36_864, 36_864)
    assert module.INFO.train + module.INFO.valid + module.INFO.test == 737_280
    assert module.INFO.image_shape == (1, 64, 64)


def test_the_index_counts_in_mixed_radix():
    index = np.arange(2 * 3 * 5)
    found = [factors.value_of(index, [2, 3, 5], factor) for factor in range(3)]
    np.testing.assert_array_equal(found, np.unravel_index(index, (2, 3, 5)))
    index = np.array([0, 1, 32, 1024, 40_960, 245_760, 737_279])  # dSprites' bases
    found = np.stack([factors.value_of(index, SIZES, factor) for factor in range(6)], axis=1)
    np.testing.assert_array_equal(
        found,
        [
            [0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 1],
            [0, 0, 0, 0, 1, 0],
            [0, 0, 0, 1, 0, 0],
            [0, 0, 1, 0, 0, 0],
            [0, 1, 0, 0, 0, 0],
            [0, 2, 5, 39, 31, 31],
        ],
    )


@pytest.mark.parametrize(
    ("images", "sizes"),
    [(0, (0, 0, 0)), (19, (19, 0, 0)), (20, (18, 1, 1)), (39, (37, 1, 1)), (737_280, (663_552, 36_864, 36_864))],
)
def test_a_twentieth_each_is_held_out(images, sizes):
    assert factors.parts(images) == sizes


def test_every_image_is_in_one_part(full):
    index = np.concatenate([full[f"{part}_index"] for part in ("train", "valid", "test")])
    np.testing.assert_array_equal(np.sort(index), np.arange(737_280))
    assert [len(full[f"{part}_index"]) for part in ("train", "valid", "test")] == [663_552, 36_864, 36_864]


def test_factors_belong_to_the_index_and_labels_are_the_shape(full):
    for part in ("train", "valid", "test"):
        rows = full[f"{part}_factors"]
        assert rows.dtype == full[f"{part}_labels"].dtype == np.int64
        _, shape, scale, orientation, x, y = rows.T
        assert not rows[:, 0].any()
        np.testing.assert_array_equal(
            full[f"{part}_index"], (((shape * 6 + scale) * 40 + orientation) * 32 + x) * 32 + y
        )
        np.testing.assert_array_equal(full[f"{part}_labels"], shape)


def test_parts_are_shuffled_and_show_every_value(full):
    for part in ("train", "valid", "test"):
        steps = np.diff(full[f"{part}_index"])
        assert 0.49 < (steps > 0).mean() < 0.51  # 36,863 steps, about half of them up: 0.01 is 6 standard errors
        for factor, size in enumerate(SIZES):
            assert len(np.unique(full[f"{part}_factors"][:, factor])) == size


def test_the_split_never_changes(full):
    assert full["train_index"][:5].tolist() == [705785, 590371, 658881, 692974, 84066]
    assert full["valid_index"][:5].tolist() == [660345, 91657, 165886, 595847, 526852]
    assert full["test_index"][:5].tolist() == [33072, 583501, 534825, 313059, 253342]


def test_values_of_a_smaller_grid_keep_their_numbers():
    made = {}

    def new(name, shape, dtype):
        made[name] = np.full(shape, -1, dtype)
        return made[name]

    values = [np.array(v) for v in ([0], [2], [1, 5], [0, 13, 39], [7], [4, 8, 12, 30])]
    train, valid, test = factors.parts(24)
    factors.fill(new, sprites.info(shape=[2], scale=[1, 5], orientation=[0, 13, 39], pos_x=[7], pos_y=4), values)
    rows = np.concatenate([made[f"{part}_factors"] for part in ("train", "valid", "test")])
    assert (len(made["train_index"]), len(made["valid_index"]), len(made["test_index"])) == (train, valid, test)
    order = np.concatenate([made[f"{part}_index"] for part in ("train", "valid", "test")])
    grid = [[0, 2, s, o, 7, y] for s in (1, 5) for o in (0, 13, 39) for y in (4, 8, 12, 30)]
    assert rows[np.argsort(order)].tolist() == grid
