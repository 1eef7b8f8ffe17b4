"""Sums of table rows and the choice of questions, against plain indexing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from baselines.networks.questions import Images, Questions


def random_questions(seeds: int, count: int, num_symbols: int, seed: int = 0) -> Questions:
    """Questions with random operands, some of them twice."""
    return Questions(torch.randint(num_symbols, (seeds, count, 2), generator=Generator().manual_seed(seed)), num_symbols)


def indexed_sum(questions: Questions, table: Tensor, operands: tuple[int, ...], weights: Tensor | None) -> Tensor:
    """`Questions.sum` by indexing: a loop over members, operands and heads."""
    q, members = questions.num_symbols, []
    for member, (heads, asked) in enumerate(zip(table, questions.operands, strict=True)):
        total = torch.zeros(len(asked), table.shape[-1], dtype=table.dtype)
        for k, operand in enumerate(operands):
            for head, rows in enumerate(heads):
                weight = 1.0 if weights is None else weights[member, :, k, head, None]
                total = total + weight * rows[k * q + asked[:, operand]]
        members.append(total)
    return torch.stack(members)


@settings(max_examples=25, deadline=None)
@given(
    seeds=st.integers(1, 3),
    count=st.integers(1, 12),
    num_symbols=st.integers(1, 9),
    heads=st.integers(1, 3),
    operands=st.sampled_from([(0,), (1,), (0, 1)]),
    weighted=st.booleans(),
)
def test_sums_and_their_gradients_are_those_of_indexing(
    seeds: int, count: int, num_symbols: int, heads: int, operands: tuple[int, ...], weighted: bool
) -> None:
    """Rows that no question takes have the gradient zero, and rows that several questions take have the sum."""
    questions = random_questions(seeds, count, num_symbols)
    generator = Generator().manual_seed(1)
    shape = (seeds, heads, len(operands) * num_symbols, 5)
    table = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
    weights = torch.rand(seeds, count, len(operands), heads, generator=generator, dtype=torch.float64).requires_grad_()
    sums = questions.sum(table, operands, weights if weighted else None)
    expected = indexed_sum(questions, table, operands, weights if weighted else None)
    torch.testing.assert_close(sums, expected)
    inputs, gradient = [table, weights] if weighted else [table], torch.randn(sums.shape, dtype=torch.float64)
    torch.testing.assert_close(
        torch.autograd.grad(sums, inputs, gradient), torch.autograd.grad(expected, inputs, gradient), rtol=1e-9, atol=1e-12
    )


def test_the_same_questions_serve_tables_of_any_kind() -> None:
    """What is kept for one number of heads and one choice of operands isn't taken for another."""
    questions = random_questions(2, 7, 4)
    for heads, operands in [(1, (0, 1)), (2, (0, 1)), (2, (1,)), (1, (0,)), (1, (1,)), (1, (0, 1))]:
        table = torch.randn(2, heads, 4 * len(operands), 3)
        torch.testing.assert_close(questions.sum(table, operands), indexed_sum(questions, table, operands, None))


def test_a_member_has_the_same_gradient_in_every_cohort() -> None:
    """Bit for bit in float32, because its rows are summed in the same order."""
    questions, table = random_questions(3, 200, 5), torch.randn(3, 2, 10, 4)
    gradient = torch.randn(3, 200, 4)

    def gradients(members: slice) -> Tensor:
        chosen = table[members].clone().requires_grad_()
        sums = Questions(questions.operands[members], 5).sum(chosen)
        return torch.autograd.grad(sums, chosen, gradient[members])[0]

    together = gradients(slice(None))
    for member in range(3):
        assert torch.equal(gradients(slice(member, member + 1))[0], together[member])


def test_look_up_takes_the_row_of_an_operand() -> None:
    """The first operand is 0, the second 1."""
    questions = Questions(torch.tensor([[[2, 0], [1, 2]]]), 3)
    rows = torch.tensor([[[10.0], [11.0], [12.0]]])
    assert questions.look_up(0, rows).flatten().tolist() == [12, 11]
    assert questions.look_up(1, rows).flatten().tolist() == [10, 12]


@pytest.mark.parametrize("members", [1, 3])
def test_picked_questions_are_those_of_each_member(members: int) -> None:
    """An index may repeat, and its order is kept; nothing is left over from the sums of all questions."""
    questions = random_questions(members, 6, 5)
    table = torch.randn(members, 1, 10, 2)
    questions.sum(table)
    index = torch.tensor([[5, 0, 0], [1, 2, 3], [4, 4, 5]])[:members]
    picked = questions.pick(index)
    assert torch.equal(picked.operands, torch.stack([questions.operands[s, index[s]] for s in range(members)]))
    torch.testing.assert_close(picked.sum(table), indexed_sum(picked, table, (0, 1), None))


@pytest.mark.parametrize("members", [1, 3])
def test_picked_images_are_those_of_each_member(members: int) -> None:
    """As for questions, even if the pixels aren't contiguous; the index that was passed stays as it was."""
    pixels = torch.rand(members, 4, 6).mT
    index = torch.tensor([[5, 0, 0, 2], [1, 2, 3, 0], [4, 4, 5, 1]])[:members]
    before = index.clone()
    picked = Images(pixels).pick(index).pixels
    assert torch.equal(picked, torch.stack([pixels[s, index[s]] for s in range(members)]))
    assert torch.equal(index, before)


def test_images_are_taken_by_their_members_indices() -> None:
    """In the order of the indices."""
    pixels = torch.rand(3, 2, 4)
    assert torch.equal(Images(pixels).take_members(torch.tensor([2, 0])).pixels, pixels[[2, 0]])
