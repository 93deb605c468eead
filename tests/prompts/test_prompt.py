import pytest

from diffumask_datasets.errors import TokenAlignmentError
from diffumask_datasets.prompts.prompt import Prompt, Term


def test_categories_in_order_of_first_mention() -> None:
    prompt = Prompt("a car, a boat, a car", (Term("car", 2, 5), Term("boat", 9, 13), Term("car", 17, 20)))
    assert prompt.categories == ("car", "boat")


def test_a_prompt_names_a_class() -> None:
    with pytest.raises(TokenAlignmentError, match="the prompt 'grass' names no class"):
        Prompt("grass", ())


@pytest.mark.parametrize("span", [(-1, 2), (2, 2), (0, 6)])
def test_a_span_lies_inside(span: tuple[int, int]) -> None:
    with pytest.raises(TokenAlignmentError, match="lies outside the prompt 'a car' of 5 characters"):
        Prompt("a car", (Term("car", *span),))
