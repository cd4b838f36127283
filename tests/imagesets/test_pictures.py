import numpy as np
import pytest
from PIL import Image

from imagesets import DataError, pictures
from imagesets.base import Info

INFO = Info(name="some", image_shape=(3, 4, 5), train=1, valid=1, test=1, description="", files="", stand_in="mnist5k")


@pytest.fixture
def folder(tmp_path):
    """Ten pictures, 5 wide and 4 high, of the colour of their number."""
    for number in range(10):
        Image.new("RGB", (5, 4), (number, 0, 255)).save(tmp_path / f"{number}.png")
    return tmp_path


def read(folder, count=10):
    names = [f"{number}.png" for number in range(count)]
    return list(pictures.read(INFO, folder, names, (5, 4), lambda picture: np.asarray(picture).transpose(2, 0, 1)))


def test_images_come_in_pieces_in_the_order_of_their_names(folder, monkeypatch):
    monkeypatch.setattr(pictures, "PIECE", 4)
    pieces = read(folder)
    assert [piece.shape for piece in pieces] == [(4, 3, 4, 5), (4, 3, 4, 5), (2, 3, 4, 5)]
    expected = np.stack([np.broadcast_to(np.array([n, 0, 255])[:, None, None], (3, 4, 5)) for n in range(10)])
    np.testing.assert_array_equal(np.concatenate(pieces), expected)


def test_wrong_files_are_counted_and_the_first_are_named(folder, monkeypatch):
    monkeypatch.setattr(pictures, "PIECE", 4)
    (folder / "1.png").write_bytes(b"no picture")
    (folder / "2.png").unlink()
    Image.new("RGB", (4, 5)).save(folder / "5.png")
    (folder / "9.png").write_bytes((folder / "9.png").read_bytes()[:-10])  # in the last piece
    (folder / "7.png").write_bytes((folder / "7.png").read_bytes()[:50])
    with pytest.raises(DataError) as caught:
        read(folder)
    assert str(caught.value).startswith(
        f"some: {folder} has wrong pictures, 5 of 10: 1.png (is neither JPEG nor PNG), "
        "2.png (No such file or directory), 5.png (is 4 x 5, where 5 x 4 is needed), ...; delete it"
    )


def test_a_piece_without_a_picture_is_counted_as_well(folder, monkeypatch):
    monkeypatch.setattr(pictures, "PIECE", 4)
    for number in range(8):
        (folder / f"{number}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"has wrong pictures, 8 of 10: 0\.png"):
        read(folder)


@pytest.mark.parametrize("position", range(40, 60))
def test_a_flipped_bit_of_a_png_is_found(folder, position):
    content = bytearray((folder / "3.png").read_bytes())
    content[position] ^= 1
    (folder / "3.png").write_bytes(content)
    with pytest.raises(DataError, match=r"has wrong pictures, 1 of 10: 3.png \("):
        read(folder)


@pytest.mark.parametrize("left", [0, 1, 100, 300, -10, -1])
def test_a_truncated_jpeg_is_found(tmp_path, left):
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    assert not isinstance(pictures.decode(tmp_path / "whole.jpg", (50, 40)), str)
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[:left])
    found = pictures.decode(tmp_path / "cut.jpg", (50, 40))
    assert isinstance(found, str)
    assert "neither JPEG" in found or "runcated" in found
