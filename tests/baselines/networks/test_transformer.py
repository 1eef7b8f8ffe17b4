"""The one-layer transformer's reference forward against torch's attention."""

import torch
from torch import Generator, nn

from baselines.networks.transformer import Transformer

Q, WIDTH = 7, 12
TRANSFORMER = Transformer(width=WIDTH, heads=3, mlp_width=20)


def test_the_reference_is_torchs_attention_and_mlp() -> None:
    """Tokens `a b =`, learned positions, heads, a causal mask, and biases of the MLP alone."""
    generator = Generator().manual_seed(0)
    p = {name: parameter.double() for name, parameter in TRANSFORMER.init_params(Q, generator).items()}
    p |= {name: torch.randn(p[name].shape, generator=generator).double() for name in ("mlp_in_bias", "mlp_out_bias")}
    questions = torch.tensor([[0, 0], [3, 5], [5, 3], [6, 1]])
    tokens = torch.tensor([[a, b, Q] for a, b in questions.tolist()])
    x = p["embed"][tokens] + p["position"]
    attention = nn.MultiheadAttention(WIDTH, 3, bias=False, batch_first=True, dtype=torch.float64)
    attention.in_proj_weight.data = torch.cat([p[name].T for name in ("query", "key", "value")])
    attention.out_proj.weight.data = p["output"].T.clone()
    mask = nn.Transformer.generate_square_subsequent_mask(3, dtype=torch.float64)
    x = x + attention(x, x, x, attn_mask=mask, need_weights=False)[0]
    x = x + (x @ p["mlp_in"] + p["mlp_in_bias"]).relu() @ p["mlp_out"] + p["mlp_out_bias"]
    logits, features = TRANSFORMER.reference_forward(p, questions)
    torch.testing.assert_close(features, x[:, -1], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(logits, x[:, -1] @ p["unembed"], rtol=1e-9, atol=1e-9)


def test_the_papers_transformer_has_its_published_sizes() -> None:
    """Nanda et al. 2023: p = 113, d = 128, four heads of width 32, 512 hidden units. The unembedding has no column for "="."""
    parameters = Transformer(width=128, heads=4, mlp_width=512).init_params(113, Generator().manual_seed(0))
    shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    assert (shapes["embed"], shapes["position"], shapes["unembed"]) == ((114, 128), (3, 128), (128, 113))
