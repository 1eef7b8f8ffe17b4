"""What the members of a cohort learn from and are examined on.

Shapes: S members, n training questions, N questions of the table, L numbers in a question.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from baselines.networks.network import Network
from baselines.networks.questions import Rows


@dataclass(frozen=True)
class Data:
    """What S members learn from and are examined on.

    Attributes:
        table: all questions, N for each member.
        questions: the training questions, n for each member.
        answers: the answers of the training questions, (S, n).
    """

    table: Rows
    questions: Rows
    answers: Tensor

    @staticmethod
    def of(inputs: Tensor, targets: Tensor, *, num_symbols: int, network: Network[Any], dtype: torch.dtype) -> "Data":
        """The data of a table: `inputs` (S, N, L) and `targets` (S, N), where `num_symbols` marks a held-out answer."""
        train = (targets != num_symbols).nonzero()[:, 1].view(len(targets), -1)  # (S, n)
        train_inputs = inputs.gather(1, train.unsqueeze(-1).expand(-1, -1, inputs.shape[-1]))  # (S, n, L)
        return Data(
            table=network.encode(inputs, num_symbols, dtype),
            questions=network.encode(train_inputs, num_symbols, dtype),
            answers=targets.gather(1, train),
        )

    @property
    def num_train(self) -> int:
        """The number n of training questions."""
        return self.answers.shape[1]

    def minibatch(self, index: Tensor) -> tuple[Rows, Tensor]:
        """The training questions at `index` (S, m), and their answers (S, m)."""
        return self.questions.pick(index), self.answers.gather(1, index)

    def take_members(self, indices: Tensor) -> Self:
        """The data of these members, `indices` (s,)."""
        table, questions = self.table.take_members(indices), self.questions.take_members(indices)
        return type(self)(table, questions, self.answers.index_select(0, indices))
