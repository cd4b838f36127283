import numpy as np
import pytest

from metrics import active_units, effective_latents, hoyer, small_fraction, zero_fraction

METRICS = [zero_fraction, small_fraction, hoyer, active_units, effective_latents]


@pytest.fixture
def codes():
    return np.random.default_rng(0).normal(size=(50, 7))


def test_zero_fraction_counts_exact_zeros():
    assert zero_fraction([[0.0, -0.0, 1e-300, 1], [0, 2, 3, 4]]) == 3 / 8
    assert zero_fraction(np.zeros((3, 2))) == 1
    assert zero_fraction(np.float32([[1e-45]])) == 0


@pytest.mark.parametrize("size", [2, 3, 200])
def test_hoyer_of_one_hot_is_1_and_of_constants_0(size):
    assert hoyer(-5 * np.eye(size)) == pytest.approx(1, abs=1e-12)
    assert hoyer(np.full((4, size), -0.1)) == pytest.approx(0, abs=1e-12)
    assert 0 <= hoyer(np.full((4, size), 0.1)) <= hoyer(np.eye(size)) <= 1


def test_hoyer_by_hand():
    # |z|_1 = 7 and |z|_2 = 5 in four dimensions: (2 - 7 / 5) / (2 - 1); the second example's is 0
    assert hoyer([[3, 0, -4, 0], [1, 1, 1, 1]]) == pytest.approx((0.6 + 0) / 2)


def test_hoyer_by_brute_force(codes):
    each = [(7**0.5 - sum(abs(z)) / sum(z**2) ** 0.5) / (7**0.5 - 1) for z in codes]
    assert hoyer(codes) == pytest.approx(np.mean(each))


def test_hoyer_ignores_scale_and_order(codes):
    scales = 10.0 ** np.random.default_rng(1).integers(-300, 300, (50, 1))
    assert hoyer(codes * scales) == pytest.approx(hoyer(codes))
    assert hoyer(codes[::-1, ::-1]) == pytest.approx(hoyer(codes))


def test_hoyer_of_zeros_is_1():
    assert hoyer(np.zeros((3, 4))) == 1
    assert hoyer([[0, 0], [1, 1]]) == pytest.approx(0.5)


def test_normalised_hoyer_divides_by_the_deviation(codes):
    wide = codes * 10.0 ** np.arange(7)
    assert hoyer(wide) > 0.9 > hoyer(codes)
    assert hoyer(wide, normalise=True) == pytest.approx(hoyer(codes, normalise=True))
    assert hoyer(wide, normalise=True) == pytest.approx(hoyer(wide / wide.std(axis=0)))


def test_normalised_hoyer_takes_a_constant_dimension_as_0(codes):
    padded = np.c_[codes, np.full(50, 0.1)]  # whose computed deviation is not exactly 0
    expected = hoyer(np.c_[codes / codes.std(axis=0), np.zeros(50)])
    assert hoyer(padded, normalise=True) == pytest.approx(expected)
    assert hoyer(np.full((5, 3), 0.1), normalise=True) == 1


def test_hoyer_of_one_dimension_is_not_defined():
    assert np.isnan(hoyer([[1.0], [2.0]]))


def test_active_units_count_variances_above_the_threshold():
    z = np.array([[-1.0], [1.0]]) * np.sqrt([0, 0.005, 0.02, 1])  # variances 0, 0.005, 0.02 and 1
    assert active_units(z + 100) == 2
    assert active_units(z, threshold=0.004) == 3
    assert active_units(z, threshold=1) == 0  # exceeds, not reaches
    assert active_units(z, threshold=0) == 3


def test_active_units_of_collapsed_and_of_duplicated_codes(codes):
    assert active_units(np.zeros((10, 5))) == 0
    assert active_units(np.c_[codes, codes]) == 2 * active_units(codes) == 14


@pytest.mark.parametrize("metric", [active_units, effective_latents])
def test_one_example_has_no_variance(metric):
    assert np.isnan(metric([[1.0, 2.0]]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_has_no_sparsity(metric, value):
    assert np.isnan(metric([[1.0, 2.0], [0.0, value]]))


def test_small_fraction_counts_what_is_closer_to_0_than_the_threshold():
    assert small_fraction([[0.0, -0.005, 0.01, -3]]) == 2 / 4
    assert small_fraction([[0.0, -0.005, 0.01, -3]], threshold=0.02) == 3 / 4
    with pytest.raises(ValueError, match=r"threshold must be above 0, but is 0; zero_fraction counts exact zeros"):
        small_fraction([[1.0]], threshold=0)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_effective_latents_of_equal_variances_is_their_number(size):
    z = np.concatenate([np.eye(size), -np.eye(size)])
    assert effective_latents(z) == pytest.approx(size)
    assert effective_latents(np.c_[3 + z, np.full((2 * size, 5), 0.1)]) == pytest.approx(size)


def test_effective_latents_by_hand():
    z = np.array([[-1.0], [1.0]]) * np.sqrt([1, 2, 1])  # shares 1/4, 1/2, 1/4: an entropy of 3/2 log 2
    assert effective_latents(z) == pytest.approx(2**1.5)
    assert effective_latents(1e200 * z) == pytest.approx(2**1.5)
    assert effective_latents(np.full((5, 3), 0.1)) == 0


def test_active_units_refuses_a_negative_threshold():
    with pytest.raises(ValueError, match=r"threshold must be .* but is -1"):
        active_units([[1.0], [2.0]], threshold=-1)
    with pytest.raises(ValueError, match=r"threshold must be .* but is nan"):
        active_units([[1.0], [2.0]], threshold=np.nan)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1.0, 2.0], r"codes must be \[N, Z\], .* but has shape \[2\]"),
        (np.zeros((2, 3, 4)), r"shape \[2, 3, 4\]"),
        (np.zeros((0, 3)), r"shape \[0, 3\]"),
        (3.0, r"shape \[\]"),
        ([["a", "b"]], "codes must hold real numbers"),
        ([[1j, 2j]], "codes must hold real numbers, but its type is complex128"),
    ],
)
def test_wrong_codes_are_refused(metric, given, message):
    with pytest.raises(ValueError, match=message):
        metric(given)
