"""The columns of clips.parquet."""

from __future__ import annotations

import pyarrow as pa

_WORDS = pa.dictionary(pa.int32(), pa.string())
CLIPS_SCHEMA = pa.schema(
    [
        ("key", pa.string()),  # unique, no dots: the webdataset key
        ("shard", pa.int32()),  # index into manifest.shards
        ("offset", pa.int64()),  # of the audio member's first byte in the tar
        ("size", pa.int64()),  # of the audio member, bytes
        ("payload_offset", pa.int32()),  # of the first sample in the audio member (pcm16), else 0
        ("codec", _WORDS),
        ("frames", pa.int64()),  # samples per channel
        ("channels", pa.int8()),
        ("class_index", pa.int32()),  # into manifest.classes
        ("machine_type", _WORDS),
        ("machine_id", _WORDS),
        ("domain", _WORDS),
        ("split", _WORDS),
        ("label", pa.int8()),  # 0 normal, 1 anomaly, -1 unknown
        ("attributes", pa.string()),
        ("file_name", pa.string()),
        ("recording", pa.string()),  # that the clip was cut from; empty: the clip is a recording of its own
    ]
)
_FORMAT_2 = pa.schema([field for field in CLIPS_SCHEMA if field.name != "recording"])
SCHEMAS = {2: _FORMAT_2, 3: CLIPS_SCHEMA, 4: CLIPS_SCHEMA, 5: CLIPS_SCHEMA}  # by format
