"""A parquet file that may come from anybody: read without unpacking to much more than its bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from asd.errors import UserError

MAX_TEXT = 1000  # bytes that texts may unpack to, for each byte of the file


def read_table(path: Path, schema: pa.Schema) -> pa.Table | None:
    """The table; None where it has other columns. UserError where it is damaged, or made to fill the memory."""
    try:
        return _read(path, schema)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        problem = str(error).partition("\n")[0][:120]
        raise UserError(f"{path} cannot be read ({problem}): pack the set again") from None


def _read(path: Path, schema: pa.Schema) -> pa.Table | None:
    size, texts = path.stat().st_size, [field.name for field in schema if field.type == pa.string()]
    with pq.ParquetFile(path) as clips:  # pq.read_table would import pyarrow's dataset layer first
        rows = clips.metadata.num_rows
        if not clips.schema_arrow.equals(schema):
            return None
        if rows > size:  # keys alone take more than a byte each
            raise pa.ArrowInvalid(f"{rows} rows in {size} bytes")
        if rows * (longest := _longest_repeated(path, texts)) > MAX_TEXT * size:
            raise pa.ArrowInvalid(f"{rows} rows of up to {longest} bytes in {size} bytes")
        table = clips.read()
    if any(column.null_count for column in table.columns):
        raise pa.ArrowInvalid("a cell is empty")
    return table


def _longest_repeated(path: Path, texts: list[str]) -> int:
    """Bytes of the longest text that lies in the file once and may stand in every row.

    Such texts lie before the first row of their row group: that row alone brings all of them.
    """
    longest = 0
    with pq.ParquetFile(path, read_dictionary=texts) as clips:
        for group in range(clips.num_row_groups):
            first = next(clips.iter_batches(1, row_groups=[group], columns=texts), None)
            for column in first.columns if first is not None else ():
                known = column.dictionary
                ends = np.frombuffer(known.buffers()[1], dtype=np.int32)[known.offset : known.offset + len(known) + 1]
                longest = max(longest, int(np.diff(ends).max(initial=0)))
    return longest
