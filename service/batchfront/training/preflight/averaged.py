"""Does the copy of a model that holds the average of its weights compute with it?"""

import torch
from torch import nn

from batchfront.errors import WorkloadError
from batchfront.training.averaged_weights import copied
from batchfront.training.generators import seed_generators
from batchfront.training.preflight.wording import naming
from batchfront.workload.calling import called
from batchfront.workload.data import Examples
from batchfront.workload.nested import map_tensors, tensors_in
from batchfront.workload.workload import Workload

_EXAMPLES = 2


def refuse_uncopied(workload: Workload, model: nn.Module, validation: Examples) -> None:
    """Raise WorkloadError if a copy of the model computes with weights of the model it is a copy
    of: what is evaluated would not be the average. The model is of no use afterwards."""
    if workload.average is None:
        return
    copy = copied(workload, model).eval()
    some = torch.arange(min(_EXAMPLES, len(validation)), device=validation.indexed_on)
    inputs = validation.batch(some).inputs
    found = []
    with naming(workload, "average= evaluates a copy of the model, and that fails"):
        for _ in range(2):
            seed_generators(torch.device("cpu"), 0)
            with torch.no_grad():
                found.append(tensors_in(map_tensors(torch.clone, called(copy, inputs))))
                for parameter in model.parameters():
                    parameter.fill_(torch.nan)
    before, after = found
    if not all(torch.allclose(a, b, equal_nan=True) for a, b in zip(before, after, strict=True)):
        raise WorkloadError(
            f"{workload.name}: average= evaluates a copy of the model, which still computes with "
            "the weights of the model itself: copy.deepcopy doesn't copy what a lambda, an inner "
            "function or a hook refers to; have them use self, or the module that they are given"
        )
