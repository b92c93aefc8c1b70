"""metrics.jsonl, the record of a run."""

from __future__ import annotations

import json
import math
import threading
import time
from pathlib import Path
from typing import Any

from asd.files.atomic import naming, write_whole
from asd.loggers.base import Logger, Outcome, Record

METRICS_FILE = "metrics.jsonl"


class JsonlLogger(Logger):
    """metrics.jsonl, one object a line. Lines of steps that a resumed run will do again are dropped at its start."""

    def __init__(self, path: Path, resumed_at: int) -> None:
        if path.exists():
            kept = [json.dumps(record) + "\n" for record in read_metrics(path) if record["step"] <= resumed_at]
            write_whole(path, "".join(kept))
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()  # alerts come from another thread

    def log(self, step: int, record: Record) -> None:
        finite = {name: value if math.isfinite(value) else None for name, value in record.items()}  # NaN is not JSON
        with naming(Path(self._file.name)), self._lock:
            self._file.write(json.dumps({"step": step, "time_unix": round(time.time(), 3), **finite}) + "\n")
            self._file.flush()

    def close(self, outcome: Outcome = "finished") -> None:
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Records of metrics.jsonl; a last line that a kill cut short is left out."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records
