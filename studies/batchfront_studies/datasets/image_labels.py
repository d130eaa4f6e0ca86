"""Image labels as Open Images publishes them: CSV files of millions of lines, read by Arrow.

ImageID,Source,LabelName,Confidence
000026e7ee790996,verification,/m/04hgtk,0
000026e7ee790996,verification,/m/07j7r,1
"""

import os
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch

from batchfront.errors import DataError
from batchfront_studies.datasets.derived import keep_table, kept_tables
from batchfront_studies.datasets.image_index import ImageIndex
from batchfront_studies.datasets.image_targets import LabelSets

_COLUMNS = ("ImageID", "LabelName", "Confidence")


def labels_of(index: ImageIndex, csv: Path, classes: tuple[str, ...]) -> LabelSets:
    """What people have found to be shown by each image: its labels of confidence 1, as positions
    in `classes`; labels that are not of these are left out.

    Reading gigabytes takes a while, so what was found is kept beside the images.

    Raises DataError if the file can't be read, or labels an image that is not in the index.
    """
    name = f"{index.folder.name}-labels-{_key(index, csv, classes)}.arrow"
    table = next(kept_tables(index.folder, name), None)
    if table is None:
        table = _read(index, csv, classes)
        keep_table(index.folder, name, table)
    starts = np.searchsorted(table.column("image").to_numpy(), np.arange(len(index) + 1))
    numbers = np.array(table.column("label").to_numpy())  # a copy, as torch wants to write
    return LabelSets(torch.from_numpy(starts), torch.from_numpy(numbers), len(classes))


def _key(index: ImageIndex, csv: Path, classes: tuple[str, ...]) -> str:
    """Tells what the labels were worked out from."""
    stat = csv.stat()
    parts = (index.checksum, csv.name, stat.st_size, stat.st_mtime_ns, classes)
    return blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def _read(index: ImageIndex, csv: Path, classes: tuple[str, ...]) -> Any:
    """Arrow table of `image` and `label`, a row for each pair, in order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids, labels = _positives(csv, classes)
    stems = pc.replace_substring_regex(index.table.column("name"), r"\.[^.]*$", "")
    images = pc.index_in(ids, value_set=stems.combine_chunks())
    if images.null_count:
        missing = pc.unique(ids.filter(pc.is_null(images)))
        labelled = len(pc.unique(ids))
        raise DataError(
            f"Open Images: {len(missing):,} of the {labelled:,} images that {csv} labels are not "
            f"in {index.folder}, such as {missing[0]}; fetch them, or leave their lines out"
        )
    order = np.lexsort((labels.to_numpy(), images.to_numpy()))
    pairs = np.stack([images.to_numpy()[order], labels.to_numpy()[order]])
    # Several people may have found the same.
    new = np.ones(pairs.shape[1], dtype=bool)
    new[1:] = (pairs[:, 1:] != pairs[:, :-1]).any(axis=0)
    return pa.table(
        {"image": pairs[0, new].astype(np.int64), "label": pairs[1, new].astype(np.int16)}
    )


def _positives(csv: Path, classes: tuple[str, ...]) -> tuple[Any, Any]:
    """Image ids and positions in `classes`, of each line that says that an image shows it."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow.csv import ConvertOptions, open_csv

    types = dict(zip(_COLUMNS, (pa.string(), pa.string(), pa.float32()), strict=True))
    convert = ConvertOptions(include_columns=list(_COLUMNS), column_types=types)
    known, ids, labels = pa.array(classes), [], []
    try:
        for lines in open_csv(os.fspath(csv), convert_options=convert):
            shown = lines.filter(pc.equal(lines.column("Confidence"), 1.0))
            numbers = pc.index_in(shown.column("LabelName"), value_set=known)
            ids.append(shown.column("ImageID").filter(pc.is_valid(numbers)))
            labels.append(numbers.drop_null())
    except (OSError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
        found = " ".join(str(error).split())
        raise DataError(
            f"Open Images: {csv} can't be read ({found}); its columns should be "
            "ImageID,Source,LabelName,Confidence"
        ) from error
    return (
        pa.chunked_array(ids, pa.string()).combine_chunks(),
        pa.chunked_array(labels, pa.int32()).combine_chunks(),
    )
