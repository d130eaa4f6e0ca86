"""The LSTM of Shallue et al. 2018, a language model of single sentences.

From the paper (appendix): one layer, an embedding of 1,024, 2,048 hidden units, projected to 512
(Sak et al. 2014, as torch has it), outputs without bias.

Ours: torch's own initialization, but for the embedding: uniform within 0.1 of 0, of a size that
the recurrence can take; no dropout.
"""

import warnings

from torch import Tensor, nn


class LSTM(nn.Module):
    """Takes tokens, int64 of shape [n, length]; returns logits [n, length, tokens].

    Those at a place depend on the tokens up to it, and on nothing after it or beside it.
    """

    def __init__(self, tokens: int, embedding: int, hidden: int, projection: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, embedding)
        self.lstm = nn.LSTM(embedding, hidden, proj_size=projection, batch_first=True)
        self.outputs = nn.Linear(projection, tokens, bias=False)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)  # [n, length, embedding]
        x, _ = self.lstm(x)  # [n, length, projection]
        logits: Tensor = self.outputs(x)  # [n, length, tokens]
        return logits


def lstm(tokens: int) -> nn.Module:
    """The paper's, for `tokens` different ones."""
    # Once per process, on a CPU alone, and nothing that anyone could do about it.
    warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
    return LSTM(tokens, embedding=1024, hidden=2048, projection=512)
