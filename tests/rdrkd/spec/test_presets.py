"""The presets: each row of the paper's tables under one name."""

import pytest

from rdrkd.spec import PRESETS, TABLE_1, TERMS, Preset, Schedule

PAIRS = [preset for preset in Preset if "+" in preset and preset != Preset.REGENERATED_DECOUPLED]


def test_every_preset_has_a_recipe() -> None:
    assert list(PRESETS) == list(Preset)


@pytest.mark.parametrize("name", ["cwd", "pkd", "mgd", "fgd", "amd", "wsld", "ld", "dkd", "nkd", "ultralytics"])
def test_a_comparators_preset_is_its_term_as_published(name: str) -> None:
    recipe = PRESETS[Preset(name)]
    assert recipe.terms == (TERMS[name](),)
    assert recipe.calibration is None
    assert recipe.schedule == Schedule()


@pytest.mark.parametrize("preset", PAIRS)
def test_a_pair_is_the_sum_of_the_two_presets(preset: Preset) -> None:
    first, second = (PRESETS[Preset(name)] for name in preset.split("+"))
    assert PRESETS[preset].terms == first.terms + second.terms
    assert PRESETS[preset].calibration is None


def test_table_1_begins_with_the_baseline_and_ends_with_the_method() -> None:
    assert TABLE_1[0] == Preset.NONE
    assert TABLE_1[-1] == Preset.RDR_KD
    assert len(set(TABLE_1)) == len(TABLE_1)
    assert set(PAIRS) <= set(TABLE_1)
