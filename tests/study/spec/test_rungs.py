"""The rungs at which a search compares its trials."""

import pytest

from study.spec import StudySpec, check


@pytest.mark.parametrize(
    ("steps", "grace", "reduction", "rungs"),
    [
        (20_000, 1000, 3, [1000, 3000, 9000]),
        (9000, 1000, 3, [1000, 3000]),
        (9001, 1000, 3, [1000, 3000, 9000]),
        (1000, 10, 10, [10, 100]),
        (60, 50, 2, [50]),
    ],
)
def test_rungs_lie_a_factor_apart_and_before_the_end(raw, steps, grace, reduction, rungs):
    given = raw(asha={"grace": grace, "reduction": reduction}, budget={"steps": steps, "report_every": 10})
    assert StudySpec(**given).rungs == rungs


def test_no_asha_no_rungs(raw):
    assert StudySpec(**raw(asha=None)).rungs == []


def test_rungs_before_the_end_of_the_longest_warm_up_are_left_out(raw):
    """The space of the VAE draws warm-ups of up to 0.3 of the budget."""

    given = raw(asha={"grace": 100, "reduction": 2}, budget={"steps": 1000, "report_every": 100})

    def rungs(**fixed) -> list[int]:
        return StudySpec(**{**given, "fixed": fixed}).rungs

    assert rungs() == [400, 800]
    assert rungs(kl_warmup=0.0) == [100, 200, 400, 800]
    assert rungs(kl_warmup=0.15) == [200, 400, 800]
    assert rungs(kl_warmup=0.2) == [200, 400, 800]
    assert rungs(kl_warmup=0.21) == [400, 800]


def test_a_specification_that_leaves_no_rung_is_refused(raw):
    (line,) = check(raw(asha={"grace": 10}, fixed={"kl_warmup": 1.0}))
    assert "no rung lies before the end of the budget (60 steps) and after the longest KL warm-up (60 steps)" in line
    assert check(raw(asha={"grace": 60})) != []
    assert check(raw(asha={"grace": 50})) == []
