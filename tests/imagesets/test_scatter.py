import numpy as np
import pytest

from imagesets import scatter
from imagesets.base import Info

INFO = Info(name="some", image_shape=(1, 1, 2), train=70, valid=30, test=9, description="", files="")


def room():
    arrays = {}

    def new(name, shape, dtype):
        arrays[name] = np.full(shape, 99, dtype)
        return arrays[name]

    return arrays, new


def test_train_and_valid_share_the_published_images_in_shuffled_order():
    orders = scatter.draw(INFO, seed=1)
    assert [len(orders[part]) for part in ("train", "valid")] == [70, 30]
    assert sorted([*orders["train"], *orders["valid"]]) == list(range(100))
    assert all((np.diff(order) < 0).any() for order in orders.values())
    assert (scatter.draw(INFO, seed=1)["train"] == orders["train"]).all()
    assert (scatter.draw(INFO, seed=2)["train"] != orders["train"]).any()


def test_test_keeps_the_publishers_order():
    assert {part: order.tolist() for part, order in scatter.keep(INFO).items()} == {"test": list(range(9))}


@pytest.mark.parametrize("piece", [1, 7, 100])
def test_what_is_put_in_pieces_lies_where_the_orders_say(piece):
    published = np.arange(200, dtype=np.uint8).reshape(100, 1, 1, 2)
    orders = scatter.draw(INFO, seed=1)
    arrays, new = room()
    put = scatter.room(new, orders, INFO.image_shape)
    for start in range(0, 100, piece):
        put(start, published[start : start + piece])
    for part, order in orders.items():
        np.testing.assert_array_equal(arrays[f"{part}_images"], published[order])


def test_annotations_go_with_their_images_as_int64():
    values = np.arange(200, dtype=np.int16).reshape(100, 2)
    orders = scatter.draw(INFO, seed=1)
    arrays, new = room()
    scatter.annotate(new, orders, "factors", values)
    for part, order in orders.items():
        assert arrays[f"{part}_factors"].dtype == np.int64
        np.testing.assert_array_equal(arrays[f"{part}_factors"], values[order])
