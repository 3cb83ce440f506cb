"""The power law that the scaling curves are fitted with."""

import numpy as np
import pytest

from benchmarks.ablations import PowerLaw, Setup, ablations, fit_power_law, main


def test_an_exact_power_law_is_found_again():
    sizes = np.array([1e3, 1e4, 3e5])
    law = fit_power_law(sizes, PowerLaw(0.076, 8.8e13, 1.0)(sizes))
    assert law.alpha == pytest.approx(0.076) and law.scale == pytest.approx(8.8e13, rel=1e-6) and law.fit == pytest.approx(1)


def test_the_law_halves_the_loss_when_the_size_grows_by_two_to_the_one_over_alpha():
    law = PowerLaw(0.5, 100.0, 1.0)
    assert law(100) == 1 and law(400) == 0.5


def test_every_change_differs_from_the_base():
    setups = ablations(Setup())
    assert all(setup != setups["base"] for name, setup in setups.items() if name != "base")


def test_a_name_that_does_not_exist_is_refused_with_those_that_do(capsys):
    with pytest.raises(SystemExit):
        main(["--only", "magic"])
    assert "magic" in (shown := capsys.readouterr().err) and "label smoothing 0.1" in shown and "parameters" in shown
