"""A training pass of the one-layer transformer with its gradients written down, which autograd would take longer for.

The forward pass is the algebra at the top of `transformer.py`. With F = [W_in | W_U], its matrices multiplied beforehand:

    y      = Σ_heads Σ_i w_i·(v_i − v_end)·(W_O·F)            a weighted sum of table rows, for [hidden layer | logits]
    h      = relu(y_in + c·W_in + b_in)
    logits = y_U + h·(W_out·W_U) + (c + b_out)·W_U

The backward pass is the same lines from the last to the first. `d…` names the gradient of a variable.

Shapes: S seeds, n questions, q symbols, d residual width, H heads of width d/H, m hidden width of the MLP, f columns of F.
"""

import torch
from torch import Tensor

from baselines.networks.attention import Attention
from baselines.networks.network import Parameters
from baselines.networks.products import COLUMN_ALIGNMENT, aligned, multiply, product, relu_gradient, weight_gradient
from baselines.networks.questions import Questions


class FoldedPass:
    """A forward pass, which keeps what the backward pass needs.

    Attributes:
        logits: (S, n, q).
    """

    def __init__(self, parameters: Parameters, questions: Questions, num_heads: int) -> None:
        self.parameters, self.questions = parameters, questions
        p, m, q = parameters, parameters["mlp_in"].shape[-1], questions.num_symbols
        before_logits = m + -m % COLUMN_ALIGNMENT
        self.hidden_columns, self.logit_columns = slice(0, m), slice(before_logits, before_logits + q)
        self.attention = Attention.of(parameters, questions, num_heads)
        c = self.attention.constant  # (S, 1, d)
        unembed = aligned(p["unembed"])  # (S, d, q padded)
        self.folded = torch.cat([aligned(p["mlp_in"]), unembed], dim=2)  # (S, d, f): F
        self.output_folded = product(p["output"], self.folded)  # (S, d, f): W_O·F
        self.table = self.attention.table(self.output_folded)  # (S, H, 2q, f)
        y = questions.sum(self.table, weights=self.attention.weights)  # (S, n, f)
        bias_in = c @ p["mlp_in"] + p["mlp_in_bias"].unsqueeze(1)  # (S, 1, m)
        self.hidden = (y[..., self.hidden_columns] + bias_in).relu_()  # (S, n, m)
        self.out_unembed = product(p["mlp_out"], unembed)  # (S, m, q padded): W_out·W_U
        self.constant_out = c + p["mlp_out_bias"].unsqueeze(1)  # (S, 1, d)
        bias_unembed = self.constant_out @ p["unembed"]  # (S, 1, q)
        self.logits = product(self.hidden, self.out_unembed)[..., :q] + y[..., self.logit_columns] + bias_unembed  # (S, n, q)

    def backward(self, dlogits: Tensor, into: Parameters) -> None:
        """Write the gradient of every parameter to `into`, from that of the logits (S, n, q)."""
        p, q, attention = self.parameters, self.questions.num_symbols, self.attention
        dy = dlogits.new_empty(*dlogits.shape[:2], self.folded.shape[-1])  # (S, n, f)
        dhidden = multiply(dlogits, self.out_unembed[..., :q].mT)  # (S, n, m)
        dhidden = relu_gradient(dhidden, self.hidden, into=dy[..., self.hidden_columns])  # (S, n, m)
        dy[..., self.hidden_columns.stop : self.logit_columns.start].zero_()
        dy[..., self.logit_columns] = dlogits
        dy[..., self.logit_columns.stop :].zero_()
        dbias_in, dbias_unembed = dhidden.sum(1, keepdim=True), dlogits.sum(1, keepdim=True)  # (S, 1, m), (S, 1, q)
        dout_unembed = weight_gradient(self.hidden, dlogits)  # (S, m, q)
        dconstant_out = dbias_unembed @ p["unembed"].mT  # (S, 1, d)
        dconstant = dconstant_out + dbias_in @ p["mlp_in"].mT  # (S, 1, d)
        dtable = self.questions.to_table(dy, weights=attention.weights)  # (S, H, 2q, f)
        dvalues, doutput_folded = attention.table_backward(dtable, self.output_folded)
        dfolded = multiply(p["output"].mT, doutput_folded)  # (S, d, f)
        into["mlp_in"].copy_(dfolded[..., self.hidden_columns]).add_(attention.constant.mT * dbias_in)
        into["mlp_in_bias"].copy_(dbias_in.squeeze(1))
        into["mlp_out"].copy_(dout_unembed @ p["unembed"].mT)
        into["mlp_out_bias"].copy_(dconstant_out.squeeze(1))
        into["unembed"].copy_(dfolded[..., self.logit_columns]).add_(self.constant_out.mT * dbias_unembed)
        into["unembed"].add_(p["mlp_out"].mT @ dout_unembed)
        into["output"].copy_(multiply(doutput_folded, self.folded.mT)).add_(attention.v_end.mT * dconstant)
        attention.backward(self.questions.to_weights(dy, self.table), dvalues, dconstant, into)
