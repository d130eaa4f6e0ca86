"""The Transformer of Vaswani et al. 2017, as a language model of single sentences.

From Shallue et al. 2018 (appendix): the decoder alone, applied to the words of one sentence;
`base` as Vaswani's table 3 has it; `shallow` with 2 layers instead of 6; `narrow_and_shallow`
with half the hidden units, heads and filter of that; `wide` with twice those of the base.

From Vaswani et al. 2017: attention of several heads without biases (3.2), a ReLU layer in between
(3.3), one matrix for embedding and softmax, times the root of the width in the former (3.4),
sinusoidal positions (3.5).

Ours, as neither text that we know settles it for this use: layers normalize what they are given
and not what they return, and the last output is normalized too (pre-norm, as in tensor2tensor:
what Vaswani's text has, post-norm, needs a warm-up); no dropout, as hardly a sentence is seen twice
before the goal; Glorot's uniform initialization, and embeddings of variance 1 / width. What goes
in is what the shared matrix finds again, so an untrained model expects every token to be repeated:
it costs up to a few nats more than guessing.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Size:
    """Layers, hidden units, heads, and units of the layers in between."""

    layers: int
    width: int
    heads: int
    filter: int


SIZES = {
    "base": Size(6, 512, 8, 2048),
    "shallow": Size(2, 512, 8, 2048),
    "narrow_and_shallow": Size(2, 256, 4, 1024),
    "wide": Size(6, 1024, 16, 4096),
}


class Transformer(nn.Module):
    """Takes tokens, int64 of shape [n, length]; returns logits [n, length, tokens].

    Those at a place depend on the tokens up to it, and on nothing after it or beside it.

    tokens  -- how many different ones there are
    longest -- the most tokens of a sentence
    """

    positions: Tensor

    def __init__(self, size: Size, tokens: int, longest: int) -> None:
        super().__init__()
        self.scale = math.sqrt(size.width)
        self.embedding = nn.Embedding(tokens, size.width)
        self.layers = nn.ModuleList(_Layer(size) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width)
        self.register_buffer("positions", sinusoids(longest, size.width), persistent=False)
        nn.init.normal_(self.embedding.weight, std=1 / self.scale)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) * self.scale  # [n, length, width]
        x = x + self.positions[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return F.linear(self.norm(x), self.embedding.weight)  # [n, length, tokens]


class _Layer(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.attention_norm = nn.LayerNorm(size.width)
        self.queries_keys_values = nn.Linear(size.width, 3 * size.width, bias=False)
        self.attended = nn.Linear(size.width, size.width, bias=False)
        self.filter_norm = nn.LayerNorm(size.width)
        self.filter_in = nn.Linear(size.width, size.filter)
        self.filter_out = nn.Linear(size.filter, size.width)
        # The three matrices of the first are drawn as the three that they are.
        for matrix in self.queries_keys_values.weight.chunk(3):
            nn.init.xavier_uniform_(matrix)
        for linear in (self.attended, self.filter_in, self.filter_out):
            nn.init.xavier_uniform_(linear.weight)
        for linear in (self.filter_in, self.filter_out):
            nn.init.zeros_(linear.bias)

    def extra_repr(self) -> str:
        return f"heads={self.heads}"  # no shape tells, and a study's identity should

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attention(self.attention_norm(x))
        y: Tensor = x + self.filter_out(self.filter_in(self.filter_norm(x)).relu())
        return y

    def _attention(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        parts = self.queries_keys_values(x).view(n, length, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)  # each [n, heads, length, width/heads]
        # Padding stands at the end, where what comes before it doesn't look: no mask is needed.
        found = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        joined: Tensor = self.attended(found.transpose(1, 2).reshape(n, length, width))
        return joined


def transformer(variant: str, tokens: int, longest: int) -> nn.Module:
    """The Transformer of one of SIZES, for sentences of at most `longest` of `tokens` tokens."""
    return Transformer(SIZES[variant], tokens, longest)


def sinusoids(length: int, width: int) -> Tensor:
    """Position encodings, [length, width]: sines in the even places, cosines in the odd ones
    (Vaswani et al. 2017, section 3.5)."""
    rates = 10_000.0 ** (-torch.arange(0, width, 2) / width)  # [width / 2]
    angles = torch.arange(length)[:, None] * rates  # [length, width / 2]
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
