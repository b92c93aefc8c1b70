"""What a network is taught to tell apart: the machines, or finer classes by domain, attributes and clusters of clips.
Scores, reports and detectors go by machines all the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from asd.data.manifest import Manifest, ProxyClasses
from asd.data.subset import NO_CLASS

Classes = Literal["machine", "attributes"]
NO_CLUSTER = -1


def with_proxy_classes(manifest: Manifest, classes: Classes, clusters: np.ndarray | None = None) -> Manifest:
    """The same set, its training clips divided by machine and domain, with `attributes` also by their text, and by
    cluster. clusters: (clips,) int, NO_CLUSTER of clips in none (asd.data.pseudo_labels)."""
    if classes == "machine" and clusters is None:
        return manifest
    clips = manifest.select("train")
    machine, domain = manifest.class_index[clips].tolist(), manifest.strings("domain", clips)
    attributes = manifest.strings("attributes", clips) if classes == "attributes" else [""] * len(clips)
    cluster = [NO_CLUSTER] * len(clips) if clusters is None else clusters[clips].tolist()
    told = list(zip(machine, domain, attributes, cluster, strict=True))
    number = {parts: index for index, parts in enumerate(sorted(set(told)))}
    of_clip = np.full(len(manifest), NO_CLASS, dtype=np.int32)
    of_clip[clips] = [number[parts] for parts in told]
    names = tuple(_name(str(manifest.classes[own]), *words) for own, *words in number)
    return replace(manifest, proxy=ProxyClasses(names, tuple(own for own, *_ in number), of_clip))


def _name(machine: str, domain: str, attributes: str, cluster: int) -> str:
    return " ".join(filter(None, (machine, domain, attributes, "" if cluster < 0 else f"cluster {cluster}")))
