"""Writes the event files beside this, with what is installed of PyTorch, TensorBoard, tensorboardX.

By hand, in an environment that has all three: `python tests/.../events/write.py`.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tensorboardX
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from torch.utils.tensorboard import SummaryWriter

HERE = Path(__file__).parent
DTYPES = {1: np.float32, 2: np.float64, 9: np.int64, 3: np.int32, 19: np.float16}
"""Those of tensors that may be scalars, by their number in the protocol."""


def log(writer: Any, **how: Any) -> None:
    """What every writer is given."""
    writer.add_text("about", "a run", 0)
    writer.add_histogram("weights", np.arange(10.0), 0, bins=[0, 5, 10])
    for step in (0, 5, 10, 2**40):
        writer.add_scalar("train/loss", 1 / (1 + step), step, **how)
        if step:
            writer.add_scalar("eval/loss", 2.5 / step, step, **how)
    writer.add_scalar("eval/nan", float("nan"), 10, **how)
    writer.add_scalar("eval/inf", float("-inf"), 10, **how)
    writer.close()


def tensors(folder: Path) -> None:
    """Tensors of every type, and two that are no scalars."""
    writer = EventFileWriter(str(folder))
    told = [
        (f"content/{d}", TensorProto(dtype=d, tensor_content=t(-2).tobytes()))
        for d, t in DTYPES.items()
    ]
    told += [
        ("double", TensorProto(dtype=2, double_val=[0.1])),
        ("int", TensorProto(dtype=9, int64_val=[-7])),
        ("two", TensorProto(dtype=1, float_val=[1.0, 2.0])),
    ]
    vector = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    told.append(("vector", TensorProto(dtype=1, tensor_shape=vector, float_val=[1.0])))
    for tag, tensor in told:
        values = [Summary.Value(tag=tag, tensor=tensor)]
        writer.add_event(Event(wall_time=1, step=3, summary=Summary(value=values)))
    writer.close()


def main() -> None:
    """Write them."""
    folders = {
        name: HERE / name for name in ("torch", "torch_new_style", "tensorboardx", "tensors")
    }
    for folder in folders.values():
        shutil.rmtree(folder, ignore_errors=True)
    log(SummaryWriter(str(folders["torch"])))
    log(SummaryWriter(str(folders["torch_new_style"])), new_style=True)
    log(tensorboardX.SummaryWriter(str(folders["tensorboardx"])))
    tensors(folders["tensors"])
    for folder in folders.values():
        (file,) = folder.iterdir()
        file.rename(folder / "events.out.tfevents.1")  # its own name has the machine's


if __name__ == "__main__":
    main()
