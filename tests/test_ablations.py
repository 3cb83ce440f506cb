"""The power law that the scaling curves are fitted with."""

import numpy as np
import pytest

from benchmarks.ablations import PowerLaw, Setup, ablations, fit_power_law, main, part


@pytest.mark.parametrize(("floor", "alpha", "scale"), [(0.0, 0.076, 8.8e13), (1.5, 0.5, 1e4)])
def test_an_exact_power_law_is_found_again(floor, alpha, scale):
    sizes = np.array([1e3, 1e4, 1e5, 1e6])
    law = fit_power_law(sizes, PowerLaw(floor, alpha, scale, 1.0)(sizes))
    assert law.fit == pytest.approx(1, abs=1e-4)
    assert law.floor == pytest.approx(floor, abs=0.01) and law.alpha == pytest.approx(alpha, rel=0.02)
    np.testing.assert_allclose(law(sizes), PowerLaw(floor, alpha, scale, 1.0)(sizes), rtol=1e-3)


def test_what_lies_above_the_floor_is_halved_when_the_size_grows_by_two_to_the_one_over_alpha():
    law = PowerLaw(3.0, 0.5, 100.0, 1.0)
    assert law(100) == 4 and law(400) == 3.5


def test_a_share_of_the_text_is_spread_over_all_of_it():
    ids = np.arange(100)
    assert part(ids, 1 / 4, piece=5).tolist() == [*range(5), *range(20, 25), *range(40, 45), *range(60, 65), *range(80, 85)]
    assert np.array_equal(part(ids, 1.0, piece=7), ids)


def test_every_change_differs_from_the_base():
    setups = ablations(Setup())
    assert all(setup != setups["base"] for name, setup in setups.items() if name != "base")


def test_a_name_that_does_not_exist_is_refused_with_those_that_do(capsys):
    with pytest.raises(SystemExit):
        main(["--only", "magic"])
    assert "magic" in (shown := capsys.readouterr().err) and "label smoothing 0.1" in shown and "parameters" in shown
