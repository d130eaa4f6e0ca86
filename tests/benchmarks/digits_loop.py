"""digits/mlp/momentum as a loop: the same model, examples and random numbers, step by step, as
batchfront trains the workload of that name with.

    batchfront run tests/benchmarks/digits_loop.py:digits
"""

from collections.abc import Iterator

import torch
from torch.nn.functional import cross_entropy

from batchfront import Goal, Loop, Measured, Trial
from batchfront.workload.data_order import DataOrder
from batchfront.workload.seeds import mix
from batchfront_studies import digits as studied
from batchfront_studies.datasets.digits import digits as load

WORKLOAD = studied.momentum()
SPLITS = load()


def train(trial: Trial) -> Iterator[Measured]:
    """What `ModelRun` does, as anybody would write it."""
    torch.manual_seed(mix(trial.long_seed, 0))
    model = studied.model()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=trial["learning_rate"], momentum=trial["momentum"], fused=True
    )
    trial.keep(model, optimizer)
    training, validation = SPLITS.train, SPLITS.validation
    everything = validation.batch(torch.arange(len(validation)))
    order = DataOrder(len(training), trial.batch_size, mix(trial.long_seed, 1), torch.device("cpu"))
    for step, indices in enumerate(order.batches(trial.step, trial.step_budget), trial.step + 1):
        inputs, targets = training.batch(indices)
        loss = cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if trial.evaluates(step):
            with torch.no_grad():
                wrong = model(everything[0]).argmax(1) != everything[1]
            yield trial.measured(step, wrong.double().mean(), loss)


def digits() -> Loop:
    """Of the workload's own name, so that studies of one seed sample the same metaparameters."""
    return Loop(
        name=WORKLOAD.name,
        train=train,
        goal=Goal("error rate", WORKLOAD.goal.value, better="lower"),
        search_space=WORKLOAD.search_space,
        step_budget=WORKLOAD.step_budget,
        batch_sizes=WORKLOAD.batch_sizes,
        train_examples=len(SPLITS.train),
    )
