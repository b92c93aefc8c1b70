"""What a network is taught to tell apart: the machines, or finer classes by domain and attributes. Scores, reports and
detectors go by machines all the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from asd.data.manifest import Manifest, ProxyClasses
from asd.data.subset import NO_CLASS

Classes = Literal["machine", "attributes"]


def with_proxy_classes(manifest: Manifest, classes: Classes) -> Manifest:
    """The same set; with `attributes`, its training clips are divided by machine, domain and the text of their
    attributes."""
    if classes == "machine":
        return manifest
    clips = manifest.select("train")
    machine = manifest.class_index[clips].tolist()
    told = list(zip(machine, manifest.strings("domain", clips), manifest.strings("attributes", clips), strict=True))
    number = {parts: index for index, parts in enumerate(sorted(set(told)))}
    of_clip = np.full(len(manifest), NO_CLASS, dtype=np.int32)
    of_clip[clips] = [number[parts] for parts in told]
    names = tuple(" ".join(filter(None, (str(manifest.classes[own]), *words))) for own, *words in number)
    return replace(manifest, proxy=ProxyClasses(names, tuple(own for own, *_ in number), of_clip))
