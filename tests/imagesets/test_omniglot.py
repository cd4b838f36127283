import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from layouts import omniglot as layout
from PIL import Image
from refused import refusal
from scipy.io import loadmat, savemat

import imagesets
from imagesets import omniglot, scatter, vision

BACKGROUND, EVALUATION = (Path(source) for source in omniglot.INFO.sources)
CHARDATA = "chardata.mat"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    layout.make(tmp_path)
    layout.shrink(monkeypatch)
    return tmp_path


@pytest.fixture
def mat(tmp_path, monkeypatch):
    layout.make_chardata(tmp_path)
    layout.shrink(monkeypatch)
    return tmp_path


def averaged(path):
    """Ink of a picture by areas, the long way: every pixel as 4 x 4, every area of 15 x 15 of those."""
    ink = 255.0 * (np.asarray(Image.open(path)) == 0)
    fine = ink.repeat(4, axis=0).repeat(4, axis=1)
    return np.rint(fine.reshape(28, 15, 28, 15).mean(axis=(1, 3))).astype(np.uint8)[None]


def drawings(folder, part):
    """Paths below a part in the order of alphabets, characters and drawers."""
    return sorted((folder / part).glob("*/*/*.png"), key=lambda path: path.parts)


def test_ink_is_bright_and_averaged_by_area(folder):
    test = omniglot.load(folder).test
    np.testing.assert_array_equal(test.images, [averaged(path) for path in drawings(folder, EVALUATION)])
    assert test.images.mean() < 64 < test.images.max()


def test_a_pixel_of_ink_lands_in_its_area():
    picture = np.full((105, 105), 255, np.uint8)
    picture[8, 100] = 0  # row 8 lies in area 2 (7.5 to 11.25), column 100 in area 26 (97.5 to 101.25)
    image = omniglot.shrunk(Image.fromarray(picture))
    assert np.argwhere(image).tolist() == [[0, 2, 26]]
    assert image[0, 2, 26] == round(255 / 3.75**2)


def test_a_full_picture_keeps_its_grey():
    for grey in (0, 1, 100, 255):
        image = omniglot.shrunk(Image.new("L", (105, 105), 255 - grey))
        np.testing.assert_array_equal(image, np.full((1, 28, 28), grey))


def test_labels_are_characters_and_go_on_in_the_evaluation_set(folder):
    train, valid, test = omniglot.load(folder)
    characters = sorted(folder.glob(f"{BACKGROUND}/*/*")) + sorted(folder.glob(f"{EVALUATION}/*/*"))
    assert [path.parent.name for path in characters] == ["Greek"] * 3 + ["Latin"] * 2 + ["Angelic"] * 2
    label_of = {
        averaged(path).tobytes(): label for label, character in enumerate(characters) for path in character.iterdir()
    }
    for split in (train, valid, test):
        assert [label_of[image.tobytes()] for image in split.images] == split.labels.tolist()


def test_train_and_valid_are_disjoint_and_test_is_the_evaluation_set(folder):
    train, valid, test = omniglot.load(folder)
    background = [averaged(path).tobytes() for path in drawings(folder, BACKGROUND)]
    drawn = [image.tobytes() for image in (*train.images, *valid.images)]
    assert (len(train.images), len(valid.images)) == (80, 20)
    assert sorted(drawn) == sorted(background)
    assert test.labels.tolist() == [5] * 20 + [6] * 20


def test_the_split_never_changes(folder):
    train, valid, _ = omniglot.load(folder)
    images = [averaged(path).tobytes() for path in drawings(folder, BACKGROUND)]
    assert [images.index(image.tobytes()) for image in train.images[:5]] == [2, 87, 25, 74, 78]
    assert [images.index(image.tobytes()) for image in valid.images[:5]] == [65, 18, 60, 29, 5]


def test_the_splits_of_the_whole_sets_never_change():
    orders = scatter.draw(omniglot.INFO, omniglot.SEED)
    assert orders["train"][:5].tolist() == [14846, 15751, 9372, 5209, 19242]
    assert orders["valid"][:5].tolist() == [15912, 5115, 15622, 9017, 3251]
    orders = scatter.draw(omniglot.CHARDATA, omniglot.SEED)
    assert orders["train"][:5].tolist() == [6449, 19635, 19240, 13085, 6648]
    assert orders["valid"][:5].tolist() == [14151, 22916, 15776, 4693, 6312]


def test_torchvision_finds_the_same_drawings(folder, monkeypatch):
    theirs = vision.torchvision().datasets
    monkeypatch.setattr(theirs.omniglot, "check_integrity", lambda *arguments: True)  # of the true files only
    pairs = theirs.Omniglot(folder, background=False)
    found = sorted(np.asarray(picture).tobytes() for picture, _ in (pairs[i] for i in range(len(pairs))))
    ours = [folder / EVALUATION / name for name in omniglot.listed(folder / EVALUATION, 40)[0]]
    assert sorted(np.asarray(Image.open(path).convert("L")).tobytes() for path in ours) == found


def test_files_that_are_no_drawings_are_passed_over(folder):
    (folder / BACKGROUND / ".DS_Store").write_bytes(b"")
    (folder / BACKGROUND / "Greek" / "character01" / "._0001_01.png").write_bytes(b"")
    assert len(omniglot.load(folder).train.images) == 80


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("part", [BACKGROUND, EVALUATION])
@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        (cut, "has wrong pictures, 1 of {count}: {name} ("),
        (flip, "has wrong pictures, 1 of {count}: {name} ("),
        (lambda path: path.write_bytes(b""), "has wrong pictures, 1 of {count}: {name} (is neither JPEG nor PNG)"),
        (
            lambda path: Image.new("1", (28, 28)).save(path),
            "has wrong pictures, 1 of {count}: {name} (is 28 x 28, where 105 x 105 is needed)",
        ),
        (Path.unlink, "holds {fewer} images, where {count} are needed: {character} has 19, where 20 are needed"),
        (
            lambda path: shutil.copy(path, path.with_name("0000_00.png")),
            "holds {more} images, where {count} are needed: {character} has 21, where 20 are needed",
        ),
        (lambda path: shutil.rmtree(path.parents[1]), "holds {none} images, where {count} are needed;"),
    ],
    ids=["cut", "one bit", "empty", "small", "one missing", "one more", "an alphabet missing"],
)
def test_wrong_drawings_are_named(folder, part, damage, finding):
    path = drawings(folder, part)[7]
    counts = {BACKGROUND: (100, 40), EVALUATION: (40, 0)}[part]
    damage(path)
    message = refusal("omniglot", folder)
    finding = finding.format(
        count=counts[0],
        fewer=counts[0] - 1,
        more=counts[0] + 1,
        none=counts[1],
        name=path.relative_to(folder / part),
        character=path.parent.relative_to(folder / part),
    )
    assert message.startswith(f"omniglot: {folder / part} {finding}")
    assert message.endswith("or use mnist5k, which needs no download")


def test_a_drawing_of_another_character_is_found(folder):
    greek = folder / BACKGROUND / "Greek"
    drawing = next((greek / "character01").iterdir())
    drawing.rename(greek / "character02" / drawing.name)
    message = refusal("omniglot", folder)
    assert "holds 100 images, where 100 are needed: Greek/character01 has 19, where 20 are needed" in message


def test_a_file_in_a_folders_place_is_named(folder):
    shutil.rmtree(folder / EVALUATION)
    (folder / EVALUATION).touch()
    assert f"{folder / EVALUATION} cannot be read (Not a directory)" in refusal("omniglot", folder)


def test_what_is_damaged_is_told_before_anything_is_downloaded(folder, monkeypatch):
    monkeypatch.setattr(omniglot, "torchvision", lambda: pytest.fail("downloads beside a damaged file"))
    shutil.rmtree(folder / EVALUATION)
    path = drawings(folder, BACKGROUND)[7]
    cut(path)
    before = path.read_bytes()
    assert str(path.relative_to(folder / BACKGROUND)) in refusal("omniglot", folder)
    assert path.read_bytes() == before


def test_missing_without_network_is_one_quiet_line(tmp_path, capfd):
    message = refusal("omniglot", tmp_path)
    assert message.startswith(f"omniglot: {tmp_path / BACKGROUND} is missing and could not be downloaded (")
    assert "Name or service not known" in message
    put = f"put {BACKGROUND}, {EVALUATION} under {tmp_path}, or use mnist5k, which needs no download"
    assert message.endswith(put)
    assert capfd.readouterr() == ("", "")


def test_missing_beside_chardata_names_the_option(tmp_path):
    (tmp_path / CHARDATA).touch()
    message = refusal("omniglot", tmp_path)
    assert message.startswith(f"omniglot: {tmp_path / BACKGROUND} is missing and could not be downloaded (")
    assert message.endswith(f"; or read {tmp_path / CHARDATA}, which is there, with the option source: chardata")


def test_only_the_missing_folder_is_downloaded(folder, tmp_path, monkeypatch):
    expected = omniglot.load(folder).test.images.copy()
    shutil.rmtree(folder / "cache")
    shutil.rmtree(folder / EVALUATION)
    asked = []

    def download(root, background, download):
        asked.append((background, download))
        layout.make(root)

    monkeypatch.setattr(omniglot, "torchvision", lambda: SimpleNamespace(datasets=SimpleNamespace(Omniglot=download)))
    np.testing.assert_array_equal(omniglot.load(folder).test.images, expected)
    assert asked == [(False, True)]
    assert len(drawings(folder, EVALUATION)) == 40
    assert sorted(path.name for path in folder.iterdir()) == ["cache", "omniglot-py"]


def grey(indices):
    """Images of the layout's chardata.mat, by their numbers."""
    i, _, row, column = np.ix_(indices, range(1), range(28), range(28))
    return (i + 3 * row + 7 * column) % 86 * 3  # 255 / 85


def chardata_index(split):
    """The number that each synthetic image holds in its first pixel."""
    return split.images[:, 0, 0, 0].astype(int) // 3


def test_chardata_is_read_down_the_columns(mat):
    for split in omniglot.load(mat, source="chardata"):
        np.testing.assert_array_equal(split.images, grey(chardata_index(split)))


def test_chardata_is_read_as_its_literature_reads_it(mat):
    images = loadmat(mat / CHARDATA)["testdata"].T.reshape((-1, 28, 28), order="C").transpose(0, 2, 1)
    test = omniglot.load(mat, source="chardata").test
    np.testing.assert_allclose(test.images[:, 0] / 255, images, atol=0.5 / 255 + 1e-12)  # rounded to whole 255ths


def test_chardatas_labels_are_alphabets_and_its_test_set_stays(mat):
    train, valid, test = omniglot.load(mat, source="chardata")
    for split in (train, valid, test):
        np.testing.assert_array_equal(split.labels, chardata_index(split) % 50)
    assert (len(train.images), len(valid.images)) == (45, 15)
    np.testing.assert_array_equal(np.sort([*chardata_index(train), *chardata_index(valid)]), np.arange(60))
    np.testing.assert_array_equal(chardata_index(test), np.arange(60, 80))


def test_the_split_of_chardata_never_changes(mat):
    train, valid, _ = omniglot.load(mat, source="chardata")
    assert chardata_index(train)[:5].tolist() == [41, 54, 42, 37, 28]
    assert chardata_index(valid)[:5].tolist() == [40, 59, 53, 23, 25]


def test_the_two_sources_are_stored_apart(folder):
    layout.make_chardata(folder)
    images = omniglot.load(folder)
    assert len(omniglot.load(folder, source="chardata").train.images) == 45
    np.testing.assert_array_equal(omniglot.load(folder).train.images, images.train.images)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda arrays: arrays.pop("testtarget"), "holds no array testtarget"),
        (
            lambda arrays: arrays.update(data=arrays["data"].T),
            "holds data of shape [60, 784], where [784, 60] is needed",
        ),
        (lambda arrays: arrays.update(target=arrays["target"][:49]), "holds target of shape [49, 60], where [50, 60]"),
        (lambda arrays: arrays.update(data=255 * arrays["data"]), "holds data from 0 to 255, where 0 to 1 is needed"),
        (lambda arrays: arrays["testdata"].__setitem__((3, 4), np.nan), "holds testdata from nan to nan, where 0 to 1"),
        (lambda arrays: arrays["target"].__setitem__((7, 4), 1), "holds target whose columns are not a 1 among zeros"),
        (lambda arrays: arrays["target"].__imul__(0.5), "holds target whose columns are not a 1 among zeros"),
    ],
    ids=["no target", "transposed", "too few alphabets", "bytes", "nan", "two alphabets", "halves"],
)
def test_wrong_contents_of_chardata_are_named(mat, change, finding):
    arrays = {name: array for name, array in loadmat(mat / CHARDATA).items() if not name.startswith("__")}
    change(arrays)
    savemat(mat / CHARDATA, arrays)
    assert refusal("omniglot", mat, source="chardata").startswith(f"omniglot: {mat / CHARDATA} {finding}")


@pytest.mark.parametrize("left", [0, 100, 1000, 5000])
def test_a_truncated_chardata_is_named(mat, left):
    path = mat / CHARDATA
    content = path.read_bytes()[:left]
    path.write_bytes(content)
    message = refusal("omniglot", mat, source="chardata")
    assert message.startswith(f"omniglot: {path} is no whole MATLAB file (")
    assert path.read_bytes() == content


def test_chardata_missing_without_network_is_one_quiet_line(tmp_path, capfd):
    message = refusal("omniglot", tmp_path, source="chardata")
    assert message.startswith(f"omniglot: {tmp_path / CHARDATA} is missing and could not be downloaded (")
    assert message.endswith(f"put {CHARDATA} under {tmp_path}, or use mnist5k, which needs no download")
    assert capfd.readouterr() == ("", "")


def test_a_missing_chardata_is_downloaded(mat, monkeypatch):
    content = (mat / CHARDATA).read_bytes()
    (mat / CHARDATA).unlink()
    asked = []

    def download_url(url, root, filename):
        asked.append(url)
        (root / filename).write_bytes(content)

    utils = SimpleNamespace(download_url=download_url)
    monkeypatch.setattr(omniglot, "torchvision", lambda: SimpleNamespace(datasets=SimpleNamespace(utils=utils)))
    assert len(omniglot.load(mat, source="chardata").train.images) == 45
    assert asked == ["https://github.com/yburda/iwae/raw/master/datasets/OMNIGLOT/chardata.mat"]


def test_the_option_gives_the_sizes_and_the_files():
    info = imagesets.info("omniglot", source="images")
    assert info == imagesets.info("omniglot")
    assert (info.train, info.valid, info.test) == (17_280, 2_000, 13_180)
    info = imagesets.info("omniglot", source="chardata")
    assert (info.train, info.valid, info.test, info.sources) == (23_000, 1_345, 8_070, (CHARDATA,))


@pytest.mark.parametrize("source", ["image", None, 1, ["images"]])
def test_another_source_is_refused(tmp_path, source):
    message = refusal("omniglot", tmp_path, source=source)
    assert message == f"omniglot: source is {source!r}, where images or chardata is needed"
