import io
import os
import shutil
import tracemalloc
import zipfile

import numpy as np
import pytest
from layouts import dsprites as layout

from imagesets import DataError, PackedImages, dsprites, vision

MEMBERS = ["metadata.npy", "imgs.npy", "latents_classes.npy", "latents_values.npy"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dsprites")
    layout.make(folder)
    return folder


@pytest.fixture
def source(folder, tmp_path, monkeypatch):
    """The small npz in a data folder of its own, to be loaded or damaged."""
    layout.shrink(monkeypatch)
    return shutil.copy(folder / dsprites.FILE, tmp_path / dsprites.FILE)


def grid_index(split):
    return np.ravel_multi_index(tuple(split.factors.T), list(layout.SIZES.values()))


def npy(array, header=None):
    """Content of a npy file; with another header, where one is given."""
    content = io.BytesIO()
    np.lib.format.write_array(content, array, allow_pickle=True)
    if header is None:
        return content.getvalue()
    header = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + array.tobytes()


def rewrite(path, **members):
    """Replaces members by other content, or leaves out those that are None."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents |= {f"{name}.npy": content for name, content in members.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            if content is not None:
                archive.writestr(name, content)


def test_the_small_file_has_the_published_layout(folder):
    with zipfile.ZipFile(folder / dsprites.FILE) as archive:
        assert archive.namelist() == MEMBERS
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_DEFLATED}
    with np.load(folder / dsprites.FILE, allow_pickle=True) as npz:
        types = {name: (npz[name].dtype.name, npz[name].ndim) for name in npz}
    assert types == {
        "metadata": ("object", 0),
        "imgs": ("uint8", 3),
        "latents_classes": ("int64", 2),
        "latents_values": ("float64", 2),
    }


@pytest.mark.parametrize("piece", [1024, 100, 288])
def test_images_factors_and_labels_are_those_of_the_file(source, tmp_path, monkeypatch, piece):
    monkeypatch.setattr(dsprites, "PIECE", piece)
    arrays = layout.arrays()
    splits = dsprites.load(tmp_path)
    assert [len(split.images) for split in splits] == [260, 14, 14]
    for split in splits:
        index = grid_index(split)
        assert isinstance(split.images, PackedImages)
        assert split.images.shape == (len(index), 1, 64, 64)
        np.testing.assert_array_equal(split.images[:, 0], arrays["imgs"][index] * 255)
        np.testing.assert_array_equal(split.factors, arrays["latents_classes"][index])
        np.testing.assert_array_equal(split.labels, arrays["latents_classes"][index, 1])
        assert split.factors.dtype == split.labels.dtype == np.int64
    every = np.concatenate([grid_index(split) for split in splits])
    np.testing.assert_array_equal(np.sort(every), np.arange(layout.IMAGES))


def test_the_split_never_changes(source, tmp_path):
    train, valid, test = dsprites.load(tmp_path)
    assert grid_index(train)[:5].tolist() == [185, 174, 232, 248, 31]
    assert grid_index(valid)[:5].tolist() == [16, 44, 52, 280, 161]
    assert grid_index(test)[:5].tolist() == [250, 38, 103, 145, 217]


def test_images_are_read_in_pieces(source, tmp_path, monkeypatch):
    """All images have 1.2 MB, and a piece 64 kB."""
    monkeypatch.setattr(dsprites, "PIECE", 16)
    rows = np.empty((layout.IMAGES, 512), np.uint8)
    tracemalloc.start()
    dsprites.pack(lambda *_: rows, tmp_path / dsprites.FILE, layout.IMAGES)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000
    np.testing.assert_array_equal(rows[:, 0] >> 7, np.arange(layout.IMAGES) & 1)


def test_the_pickle_in_the_file_is_not_run(source, tmp_path):
    class Runs:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    rewrite(source, metadata=npy(np.array(Runs(), dtype=object)))
    dsprites.load(tmp_path)
    assert not (tmp_path / "ran").exists()
    with np.load(source, allow_pickle=True) as npz:
        npz["metadata"]
    assert (tmp_path / "ran").exists()  # as it would have been


def test_a_header_of_python_2_is_read_without_a_warning(source, tmp_path, recwarn):
    imgs = layout.arrays()["imgs"]
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (288L, 64L, 64L), }"
    rewrite(source, imgs=npy(imgs, header))
    train = dsprites.load(tmp_path).train
    np.testing.assert_array_equal(train.images[:, 0], imgs[grid_index(train)] * 255)
    assert [str(warning.message) for warning in recwarn] == []


def one_pixel_of_2(path):
    imgs = layout.arrays()["imgs"]
    imgs[200, 3, 4] = 2
    rewrite(path, imgs=npy(imgs))


def classes_by_column_first(path):
    classes = layout.arrays()["latents_classes"]
    rewrite(path, latents_classes=npy(classes[np.argsort(classes[:, 5], kind="stable")]))


def one_bit(path):
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("imgs.npy")
    content = bytearray(path.read_bytes())
    content[member.header_offset + member.compress_size // 2] ^= 1
    path.write_bytes(content)


def one_pixel_unpacked(path):
    """A wrong pixel that is a possible one, in a zip that is not compressed: only its checksum tells."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    content = path.read_bytes()
    end = content.index(contents["imgs.npy"]) + len(contents["imgs.npy"])
    path.write_bytes(content[: end - 1] + b"\1" + content[end:])


DAMAGES = {
    "empty": (lambda p: p.write_bytes(b""), "is damaged: latents_classes cannot be read (File is not a zip file)"),
    "a page": (lambda p: p.write_text("<html>Not Found</html>"), "latents_classes cannot be read (File is not a zip"),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:-1000]), "is damaged: latents_classes cannot be read (File"),
    "one bit": (one_bit, "is damaged: imgs cannot be read ("),
    "one pixel": (one_pixel_unpacked, "is damaged: imgs cannot be read (Bad CRC-32 for file 'imgs.npy')"),
    "no images": (
        lambda p: rewrite(p, imgs=None),
        "is damaged: imgs cannot be read (\"There is no item named 'imgs.npy'",
    ),
    "no classes": (lambda p: rewrite(p, latents_classes=None), "is damaged: latents_classes cannot be read"),
    "no header": (lambda p: rewrite(p, imgs=b"abcdefghijk"), "is damaged: imgs cannot be read (the magic string"),
    "short header": (lambda p: rewrite(p, imgs=b"\x93NU"), "is damaged: imgs cannot be read (EOF"),
    "fewer images": (
        lambda p: rewrite(p, imgs=npy(layout.arrays()["imgs"][:287])),
        "has imgs of shape [287, 64, 64], where [288, 64, 64] is needed",
    ),
    "smaller images": (
        lambda p: rewrite(p, imgs=npy(layout.arrays()["imgs"][:, ::2, ::2])),
        "has imgs of shape [288, 32, 32], where [288, 64, 64] is needed",
    ),
    "by column": (
        lambda p: rewrite(p, imgs=npy(np.asfortranarray(layout.arrays()["imgs"]))),
        "has imgs of shape [288, 64, 64] by column, where [288, 64, 64] is needed",
    ),
    "floats": (
        lambda p: rewrite(p, imgs=npy(layout.arrays()["imgs"].astype(np.float32))),
        "has imgs of type float32, where bytes are needed",
    ),
    "objects": (
        lambda p: rewrite(p, latents_classes=npy(layout.arrays()["latents_classes"].astype(object))),
        "has latents_classes of type object, where whole numbers are needed",
    ),
    "images end": (
        lambda p: rewrite(p, imgs=npy(layout.arrays()["imgs"])[: 128 + 4096 * 5 + 7]),
        "is damaged: imgs cannot be read (it ends after 5 of 288 rows)",
    ),
    "images go on": (
        lambda p: rewrite(p, imgs=npy(layout.arrays()["imgs"]) + b"\0"),
        "is damaged: imgs cannot be read (it is longer than its header says)",
    ),
    "another pixel": (one_pixel_of_2, "has a pixel of 2, where all must be 0 or 1"),
    "another order": (classes_by_column_first, "says pos_x 1 of image 1, where 0 is needed"),
    "five classes": (
        lambda p: rewrite(p, latents_classes=npy(layout.arrays()["latents_classes"][:, 1:])),
        "has latents_classes of shape [288, 5], where [288, 6] is needed",
    ),
}


@pytest.mark.parametrize(("damage", "finding"), DAMAGES.values(), ids=DAMAGES)
def test_a_wrong_file_is_named_with_what_is_wrong_and_left_alone(source, tmp_path, damage, finding):
    damage(source)
    content = source.read_bytes()
    with pytest.raises(DataError) as caught:
        dsprites.load(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"dsprites: {source} ")
    assert finding in message
    assert message.endswith(
        "delete it, and it is downloaded again, or replace it, or use sprites, which needs no download"
    )
    assert "\n" not in message
    assert source.read_bytes() == content
    assert [path for path in (tmp_path / "cache").glob("*") if path.is_dir()] == []


def test_the_true_size_is_asked_of_the_true_file(folder, tmp_path):
    shutil.copy(folder / dsprites.FILE, tmp_path)
    with pytest.raises(DataError, match=r"latents_classes of shape \[288, 6\], where \[737280, 6\] is needed"):
        dsprites.load(tmp_path)


def test_a_folder_in_the_files_place_is_named(source, tmp_path):
    source.unlink()
    source.mkdir()
    with pytest.raises(DataError, match=r"64x64\.npz is damaged: latents_classes cannot be read \(.*Is a directory"):
        dsprites.load(tmp_path)


def test_missing_without_network_is_one_quiet_line(tmp_path, capfd):
    with pytest.raises(DataError) as caught:
        dsprites.load(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"dsprites: {tmp_path / dsprites.FILE} is missing and could not be downloaded (")
    assert "Name or service not known" in message
    assert message.endswith(f"put {dsprites.FILE} under {tmp_path}, or use sprites, which needs no download")
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.rglob("*.np[yz]")] == []


def test_a_missing_file_is_downloaded(folder, tmp_path, monkeypatch):
    asked = []

    def download_url(url, root, filename):
        asked.append(url)
        shutil.copy(folder / dsprites.FILE, os.path.join(root, filename))

    layout.shrink(monkeypatch)
    monkeypatch.setattr(vision.torchvision().datasets.utils, "download_url", download_url)
    assert len(dsprites.load(tmp_path).train.images) == 260
    assert (tmp_path / dsprites.FILE).read_bytes() == (folder / dsprites.FILE).read_bytes()
    dsprites.load(tmp_path)
    assert asked == [
        "https://github.com/google-deepmind/dsprites-dataset/raw/master/dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
    ]
