"""The decoder's reference forward against torch's own transformer layers, and its causal structure."""

import numpy as np
import torch
from torch import Generator, Tensor, nn

from baselines.networks.decoder import LENGTH, PREFIXES, TOKENS, Decoder, _positions
from baselines.networks.network import Parameters

Q, WIDTH = 7, 12
DECODER = Decoder(width=WIDTH, heads=3, layers=2)
QUESTIONS = torch.tensor([[0, 0], [3, 5], [5, 3], [6, 1]])


def random_parameters(network: Decoder, num_symbols: int) -> Parameters:
    """Float64 parameters; those of the layer norms are random too."""
    generator = Generator().manual_seed(0)
    parameters = {name: p.double() for name, p in network.init_params(num_symbols, generator).items()}
    return {
        name: p + 0.3 * torch.randn(p.shape, generator=generator) if "norm" in name else p for name, p in parameters.items()
    }


def torch_layer(p: Parameters, layer: int) -> nn.TransformerEncoderLayer:
    """The layer of torch with these parameters. Its linear layers have biases, all zero."""
    made = nn.TransformerEncoderLayer(WIDTH, 3, 4 * WIDTH, dropout=0.0, batch_first=True, dtype=torch.float64)
    for module in (made.self_attn.out_proj, made.linear1, made.linear2):
        nn.init.zeros_(module.bias)
    with torch.no_grad():
        made.self_attn.in_proj_weight.copy_(torch.cat([p[f"{name}{layer}"].T for name in ("query", "key", "value")]))
        for module, name in ((made.self_attn.out_proj, "output"), (made.linear1, "mlp_in"), (made.linear2, "mlp_out")):
            module.weight.copy_(p[f"{name}{layer}"].T)
        for norm, half in ((made.norm1, "attention"), (made.norm2, "mlp")):
            norm.weight.copy_(p[f"{half}_norm{layer}"])
            norm.bias.copy_(p[f"{half}_norm_bias{layer}"])
    return made


def tokens_of(questions: Tensor) -> Tensor:
    """EOS a ∘ b =, where EOS, ∘ and = come after the q symbols: (n, 2) → (n, 5)."""
    return torch.tensor([[Q, a, Q + 1, b, Q + 2] for a, b in questions.tolist()])


def test_the_reference_is_torchs_transformer() -> None:
    """Tokens, heads, the causal mask and layer norms after each half of a layer."""
    p = random_parameters(DECODER, Q)
    x = p["embed"][tokens_of(QUESTIONS)] + _positions(LENGTH, WIDTH, torch.float64, torch.device("cpu"))
    mask = nn.Transformer.generate_square_subsequent_mask(LENGTH, dtype=torch.float64)
    for layer in range(2):
        x = torch_layer(p, layer)(x, src_mask=mask, is_causal=True)
    logits, features = DECODER.reference_forward(p, QUESTIONS)
    torch.testing.assert_close(features, x[:, -1], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(logits, x[:, -1] @ p["unembed"], rtol=1e-9, atol=1e-9)


def test_positions_are_sinusoidal() -> None:
    """Dimension 2i is sin(t/10⁴^(2i/d)), dimension 2i + 1 its cosine; an odd width ends with a sine."""
    for width in (12, 5):
        positions = _positions(LENGTH, width, torch.float64, torch.device("cpu"))
        for t in range(LENGTH):
            angles = [t / 10_000 ** (2 * i / width) for i in range(width)]
            waves = [wave for angle in angles for wave in (np.sin(angle), np.cos(angle))]
            np.testing.assert_allclose(positions[t], waves[:width], rtol=1e-5, atol=1e-7)


def test_a_stream_has_a_row_for_each_distinct_prefix() -> None:
    """What a position depends on is the operands among its own token, and among the tokens up to it."""
    operands = [set(), {"a"}, set(), {"b"}, set()]
    names = {frozenset(): "nothing", frozenset("a"): "first", frozenset("b"): "second", frozenset("ab"): "both"}
    assert tuple(names[frozenset(own)] for own in operands) == TOKENS
    assert tuple(names[frozenset(set().union(*operands[: i + 1]))] for i in range(LENGTH)) == PREFIXES
