"""A part of a set: some machine types, or some of their IDs; every other clip belongs to no class."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from asd.data.clips_schema import CLIPS_SCHEMA
from asd.data.manifest import MachineClass, Manifest
from asd.errors import UserError

NO_CLASS = -1


def restrict(manifest: Manifest, machine_types: Sequence[str] = (), machine_ids: Sequence[str] = ()) -> Manifest:
    """The same clips under the same indices; only the named types and IDs have a class, all where none is named.

    Clips without a class (`NO_CLASS`) are in no split; they serve as proxy outliers. Raises UserError for a type or ID
    that the set does not hold.
    """
    if not machine_types and not machine_ids:
        return manifest
    _check_unknown(manifest, "machine type", machine_types, {c.machine_type for c in manifest.classes})
    of_types = [c for c in manifest.classes if not machine_types or c.machine_type in machine_types]
    _check_unknown(manifest, "machine ID", machine_ids, {c.machine_id for c in of_types})
    kept = np.array([_is_named(c, machine_types, machine_ids) for c in manifest.classes])
    renumbered = np.where(kept, np.cumsum(kept) - 1, NO_CLASS).astype(np.int32)[manifest.class_index]
    position = manifest.table.schema.get_field_index("class_index")
    table = manifest.table.set_column(position, CLIPS_SCHEMA.field("class_index"), pa.array(renumbered))
    classes = tuple(c for c, keep in zip(manifest.classes, kept, strict=True) if keep)
    return replace(manifest, file=manifest.file.model_copy(update={"classes": classes}), table=table.combine_chunks())


def _is_named(own: MachineClass, machine_types: Collection[str], machine_ids: Collection[str]) -> bool:
    return (not machine_types or own.machine_type in machine_types) and (
        not machine_ids or own.machine_id in machine_ids
    )


def _check_unknown(manifest: Manifest, what: str, named: Sequence[str], found: Collection[str]) -> None:
    for name in named:
        if name not in found:
            raise UserError(f"{manifest.root} holds no {what} {name}: it holds {', '.join(sorted(found))}")
