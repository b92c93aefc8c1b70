"""Writing a packed set's table and manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from asd.data.clips_schema import CLIPS_SCHEMA
from asd.data.heard import Heard
from asd.data.manifest import (
    CLIPS_FILE,
    FORMAT_VERSION,
    LABEL_ANOMALY,
    MANIFEST_FILE,
    WITH_FAULTS,
    WITH_REFERENCE,
    MachineClass,
    ManifestFile,
    Shard,
    fingerprint_of,
)
from asd.files.atomic import write_whole
from asd.files.checksum import sha256_of


def write_manifest(
    root: Path,
    name: str,
    layout: str,
    sample_rate: int,
    classes: Sequence[MachineClass],
    shards: Sequence[Shard],
    clips: pa.Table,
    notes: dict[str, int],
    heard: Heard | None = None,
) -> ManifestFile:
    """Write the clips table, then manifest.json by rename: a folder without it is not a set."""
    pq.write_table(clips.cast(CLIPS_SCHEMA), root / CLIPS_FILE, compression="zstd")
    clips_sha256 = sha256_of(root / CLIPS_FILE)
    body = {
        "format": format_of(clips),
        "name": name,
        "layout": layout,
        "sample_rate": sample_rate,
        "classes": [c.model_dump() for c in classes],
        "shards": [s.model_dump() for s in shards],
        "clips_sha256": clips_sha256,
    }
    file = ManifestFile.model_validate(body | {"fingerprint": fingerprint_of(body), "heard": heard, "notes": notes})
    write_whole(root / MANIFEST_FILE, file.model_dump_json(indent=1))
    return file


def format_of(clips: pa.Table) -> int:
    """The oldest format that says all of a table."""
    if max(clips.column("channels").to_pylist(), default=1) > 1:
        return WITH_REFERENCE
    return WITH_FAULTS if has_known_faults(clips) else FORMAT_VERSION


def has_known_faults(clips: pa.Table) -> bool:
    """Whether a table has anomalies among its training clips."""
    labelled = zip(clips.column("split").to_pylist(), clips.column("label").to_pylist(), strict=True)
    return ("train", LABEL_ANOMALY) in labelled
