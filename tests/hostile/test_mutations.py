"""Any mutation of a row is refused in one line, or is a row that everything can use."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from diffumask_datasets.dataset.checked_row import CheckedRow
from diffumask_datasets.dataset.views import VIEWS, view_row
from diffumask_datasets.errors import ExportError
from tests.helpers.made_datasets import drawn

CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 300), st.floats(), st.text(max_size=3), st.binary(max_size=3), st.just([]),
    st.just({}), st.lists(st.one_of(st.none(), st.integers(0, 3), st.floats(), st.text(max_size=2)), max_size=3)
)  # fmt: skip


@settings(max_examples=100)
@given(data=st.data())
def test_any_mutation_of_a_row_is_refused_or_is_a_row(data: st.DataObject) -> None:
    row = drawn(0)
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = row
        key: Any = data.draw(st.sampled_from(sorted(row)))
        while isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if data.draw(st.booleans()) and isinstance(place, dict) and len(place) > 1:
            del place[key]
        else:
            place[key] = data.draw(CELLS)
    try:
        checked = CheckedRow.of(row, 3)
    except ExportError:
        return
    # What passed is a row: it can be stored, shown in every view, and exported.
    again = CheckedRow.of(checked.row, 3)
    assert (again.objects, again.values) == (checked.objects, checked.values)
    described = {**drawn(0), **checked.row}
    for view in VIEWS:
        view_row(described, view, classes=("a", "b", "c"))
