import numpy as np

from benchmarks import sprites_page
from imagesets import sprites


def test_pictures_are_those_of_the_data_set(tmp_path):
    options = {"scale": [1, 4], "orientation": [3, 20], "pos_x": [0, 15], "pos_y": [31]}
    for split in sprites.load(tmp_path, **options):
        for pixels, (_, *numbers) in zip(split.images, split.factors):
            np.testing.assert_array_equal(sprites_page.image(*numbers), pixels[0])


def test_a_row_goes_from_the_first_value_to_the_last():
    assert sprites_page.shown("scale") == [0, 1, 2, 3, 4, 5]
    assert sprites_page.shown("orientation") == [0, 6, 11, 17, 22, 28, 33, 39]
    assert sprites_page.shown("pos_x")[-1] == 31


def test_the_page_shows_every_shape_under_every_factor_but_itself():
    pictures = [picture.get_array() for picture in sprites_page.page().images]
    assert len(pictures) == 3 * (6 + 8 + 8 + 8)
    assert all(picture.shape == (128, 128) and picture.max() == 255 for picture in pictures)
