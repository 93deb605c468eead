"""What ``PARTS=families`` of bench_transfer counts, on two of the families."""

from typing import Any

import pytest

from tests.benchmarks import transfer_families
from tests.benchmarks.transfer_families import family_figures, refused_sizes, sizes_of
from tests.helpers.tiny_models.cases import CASES

FEW = [case for case in CASES if case.name in ("SD 1.5", "Sana")]


def test_families_are_counted_with_their_defaults_and_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_families, "CASES", FEW)
    figures = family_figures(quick=True)
    assert (figures["families"], figures["family_defaults_right"], figures["sizes_refused"]) == (2, 2, 0)
    assert 0 < figures["recorded_columns_error"] < 1e-5
    assert 0 < figures["recorded_affinities_error"] < 1e-5  # Sana has none
    assert figures["sizes_checked"] == sum(len(list(sizes_of(case, every=8))) for case in FEW) > 100
    monkeypatch.setattr(transfer_families, "own_defaults", lambda case, pipeline: (512, 512, 50, 7.5))
    monkeypatch.setattr(transfer_families, "capture_errors", dict)
    assert family_figures(quick=True)["family_defaults_right"] == 0  # the tiny ones are smaller


def test_sizes_are_multiples_of_the_unit_both_ways() -> None:
    sizes = list(sizes_of(FEW[0]))
    assert {height for height, _ in sizes} == {width for _, width in sizes} == set(range(256, 1537, 16))
    assert {(1536, 512), (512, 1536), (880, 1168), (256, 256)} <= set(sizes)
    assert len(set(sizes)) == len(sizes)


@pytest.mark.parametrize("grids", [[5], [1000]])
def test_a_refused_size_is_found_with_its_reason(grids: list[int]) -> None:
    fields: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 1, "attention_grids": grids}
    found = refused_sizes(FEW[0].diffusion_model(), [(256, 256), (256, 512)], fields)
    assert [size[:2] for size in found] == [(256, 256), (256, 512)]
    assert "grid" in found[0][2]
