"""The padded BERT's workload is the loop of transformers' run_glue_no_trainer.py, with a goal."""

from dataclasses import replace

import pytest
import torch

from batchfront import EvaluationGrid
from tests.docs.by_hand.draws import Ended, assert_same, batches, example, raced, seed_weights

pytestmark = pytest.mark.frameworks

pytest.importorskip("transformers")

from transformers import get_scheduler  # noqa: E402

bert = example("bert_workload")

BATCH_SIZE, RATE, GOAL, BUDGET, WARMUP = 32, 3e-3, 0.3, 200, 5

SEEDS = (0, 1)


def by_hand(seed: int) -> Ended:
    train, held_out = bert.sequences(1_024, seed=0), bert.sequences(256, seed=1)
    seed_weights(seed)
    model = bert.bert()
    spared = ("bias", "LayerNorm.weight")
    parameters = dict(model.named_parameters())
    groups = [
        {"params": [p for n, p in parameters.items() if not n.endswith(spared)]},
        {"params": [p for n, p in parameters.items() if n.endswith(spared)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, weight_decay=0.01)
    scheduler = get_scheduler("linear", optimizer, WARMUP, BUDGET)
    for step, batch in batches(seed, len(train), BATCH_SIZE, BUDGET):
        model.train()
        outputs = model(**bert.pad([train[i] for i in batch.tolist()]))
        outputs.loss.backward()
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        if step + 1 in EvaluationGrid().steps(BUDGET):
            model.eval()
            with torch.no_grad():
                found = bert.pad(held_out)
                wrong = model(**found).logits.argmax(dim=1) != found["labels"]
            if wrong.float().mean() < GOAL:
                return Ended.at(step + 1, model)
    return Ended.at(None, model)


def test_it_passes_the_goal_at_the_loops_step_with_the_loops_weights() -> None:
    workload = replace(bert.bert_padded.with_goal(GOAL), step_budget=BUDGET)
    values = {"learning_rate": RATE, "warmup_steps": WARMUP}
    trials = raced(workload, workload.data(), BATCH_SIZE, values, SEEDS)
    assert_same(trials, [by_hand(seed) for seed in SEEDS])
