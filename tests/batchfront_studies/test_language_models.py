"""Language models: their sizes, that they look at nothing to come, and that padding is nothing."""

import math

import pytest
import torch
from torch import Tensor, nn

from batchfront.workload.catalog import load
from batchfront.workload.losses import token_cross_entropy
from batchfront.workload.metrics import NO_TARGET, TOKEN_CROSS_ENTROPY, token_count
from batchfront_studies.models.lstm import LSTM
from batchfront_studies.models.transformer import SIZES, Size, Transformer, sinusoids

TOKENS, LONGEST = 50, 16

PARAMETERS = {
    # 32,000 x 512; six times 4 x 512^2 + (2 x 512 x 2,048 + 2,048 + 512) + 4 x 512; 2 x 512
    "lm1b/transformer_base/nesterov_momentum": 35_287_040,
    "lm1b/transformer_shallow/nesterov_momentum": 22_685_696,
    "lm1b/transformer_narrow_and_shallow/nesterov_momentum": 9_769_984,
    "lm1b/transformer_wide/nesterov_momentum": 108_322_816,
    "common_crawl/transformer_base/nesterov_momentum": 35_287_040,
    # 32,000 x 1,024; 8,192 x (1,024 + 512 + 2) + 512 x 2,048; 512 x 32,000
    "lm1b/lstm/nesterov_momentum": 62_799_872,
    "books/transformer_tiny/momentum": 163_584,
}


def models() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "transformer": Transformer(Size(2, 16, 4, 32), TOKENS, LONGEST).double(),
        "lstm": LSTM(TOKENS, embedding=12, hidden=16, projection=8).double(),
    }


every_model = pytest.mark.parametrize("name", ["transformer", "lstm"])


def sentences(*lengths: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets of sentences that depend on their lengths alone, padded."""
    inputs = torch.zeros(len(lengths), max(lengths), dtype=torch.int64)
    targets = torch.full_like(inputs, NO_TARGET)
    for row, length in enumerate(lengths):
        generator = torch.Generator().manual_seed(length)
        tokens = torch.randint(1, TOKENS, (length,), generator=generator)
        targets[row, :length] = tokens
        inputs[row, 1:length] = tokens[:-1]
    return inputs, targets


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS.items())
def test_a_model_has_as_many_parameters_as_its_layers_say(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = load(name).model()
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_narrow_and_shallow_is_half_of_shallow_and_wide_is_twice_the_base() -> None:
    base, shallow, narrow, wide = (
        SIZES[name] for name in ("base", "shallow", "narrow_and_shallow", "wide")
    )
    assert base == Size(6, 512, 8, 2048)
    assert shallow == Size(2, base.width, base.heads, base.filter)
    assert narrow == Size(2, base.width // 2, base.heads // 2, base.filter // 2)
    assert wide == Size(6, 2 * base.width, 2 * base.heads, 2 * base.filter)


@every_model
def test_it_turns_tokens_into_a_logit_for_every_token_at_every_place(name: str) -> None:
    model = models()[name]
    outputs = model(sentences(3, 9)[0])
    assert outputs.shape == (2, 9, TOKENS)
    outputs.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


@every_model
def test_a_later_token_never_changes_an_earlier_output(name: str) -> None:
    model, inputs = models()[name], sentences(12)[0]
    before = model(inputs)
    for place in range(1, 12):
        changed = inputs.clone()
        changed[0, place] = (changed[0, place] + 1) % TOKENS
        after = model(changed)
        torch.testing.assert_close(after[:, :place], before[:, :place], rtol=0, atol=1e-10)
        assert (after[:, place:] - before[:, place:]).abs().amax(dim=2).min() > 1e-6


@every_model
def test_padding_and_company_change_neither_outputs_nor_costs(name: str) -> None:
    model = models()[name]
    inputs, targets = sentences(3, 14, 7)
    together = model(inputs)
    costs = TOKEN_CROSS_ENTROPY.per_example(together, targets)
    for row, length in enumerate((3, 14, 7)):
        alone = model(sentences(length)[0])
        torch.testing.assert_close(together[row, :length], alone[0], rtol=0, atol=1e-10)
        cost = TOKEN_CROSS_ENTROPY.per_example(alone, sentences(length)[1])
        torch.testing.assert_close(costs[row], cost[0])


@every_model
def test_the_gradient_of_a_batch_is_that_of_its_sentences_weighed_by_their_tokens(
    name: str,
) -> None:
    model = models()[name]
    inputs, targets = sentences(3, 14, 7)
    parameters = list(model.parameters())
    whole = torch.autograd.grad(token_cross_entropy(model(inputs), targets), parameters)
    parts = [torch.zeros_like(p) for p in parameters]
    for length in (3, 14, 7):
        alone, expected = sentences(length)
        loss = token_cross_entropy(model(alone), expected) * token_count(expected).sum() / 24
        for part, gradient in zip(parts, torch.autograd.grad(loss, parameters), strict=True):
            part.add_(gradient)
    torch.testing.assert_close(parts, list(whole), rtol=0, atol=1e-10)


def test_attention_is_the_papers_softmax_of_scaled_products_head_by_head() -> None:
    torch.manual_seed(0)
    model = Transformer(Size(1, 8, 2, 16), TOKENS, LONGEST).double()
    layer, x = model.layers[0], torch.randn(2, 5, 8, dtype=torch.float64)
    queries, keys, values = layer.queries_keys_values(x).chunk(3, dim=2)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        products = queries[..., part] @ keys[..., part].transpose(1, 2) / math.sqrt(4)
        later = torch.ones(5, 5).triu(1).bool()
        seen = products.masked_fill(later, -math.inf).softmax(dim=2)
        heads.append(seen @ values[..., part])
    torch.testing.assert_close(layer._attention(x), layer.attended(torch.cat(heads, dim=2)))


def test_positions_are_sines_and_cosines_of_ever_longer_waves() -> None:
    found = sinusoids(7, 8)
    for place in range(7):
        for pair in range(4):
            angle = place / 10_000 ** (2 * pair / 8)
            assert found[place, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert found[place, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_an_untrained_transformer_costs_little_more_than_guessing() -> None:
    torch.manual_seed(0)
    model = load("books/transformer_tiny/momentum").model()
    tokens = torch.randint(1000, (8, 32))
    cost = token_cross_entropy(model(tokens), torch.randint(1000, (8, 32)))
    assert cost.item() == pytest.approx(math.log(1000) + 0.5, abs=0.3)
