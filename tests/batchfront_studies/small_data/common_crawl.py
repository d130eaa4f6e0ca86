"""A small C4: its shards' names and form, documents of our own."""

import gzip
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from batchfront_studies.datasets.common_crawl import FOLDER, Sizes
from tests.batchfront_studies.small_data.lm1b import sentence

SMALL = Sizes(shards=2, held_out=30)


def write_common_crawl(root: Path, ending: str = ".json.gz", documents: int = 20) -> None:
    """Two shards to train on and two held out, each of so many documents, below the data
    directory `root`: `c4-train.00000-of-01024.json.gz` or with another ending."""
    folder = root / FOLDER
    folder.mkdir(parents=True)
    draw = random.Random(0)
    for part, shards in (("train", 1024), ("validation", 8)):
        for number in range(2):
            shard = folder / f"c4-{part}.{number:05}-of-{shards:05}{ending}"
            write_shard(shard, [document(draw) for _ in range(documents)])


def write_shard(shard: Path, texts: list[str]) -> None:
    """The documents in the form that the shard's name says."""
    rows = [
        {"text": text, "timestamp": "2019-04-25T12:57:54Z", "url": f"http://example.com/{n}"}
        for n, text in enumerate(texts)
    ]
    lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()
    if shard.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), shard)
    elif shard.suffix == ".gz":
        shard.write_bytes(gzip.compress(lines))
    else:
        shard.write_bytes(lines)


def document(draw: random.Random) -> str:
    """1 to 4 lines of 1 to 4 sentences."""
    return "\n".join(
        " ".join(sentence(draw).replace(" .", ".") for _ in range(draw.randint(1, 4)))
        for _ in range(draw.randint(1, 4))
    )
