"""Groups of clips that were cut from the same recording.

A clip beside another one of the same recording says nothing about a new recording. So whoever leaves something out
(the validation split, the scores that thresholds and ensembles go by) leaves whole recordings out.
"""

from __future__ import annotations

import numpy as np

from asd.data.manifest import SPLITS, Manifest


def recording_of(manifest: Manifest) -> np.ndarray:
    """(clips,) int64: the first clip that a class has of the same recording in the same split.

    A clip that is a recording of its own has its own index.
    """
    clips = np.arange(len(manifest))
    names = manifest.table.column("recording").combine_chunks().dictionary_encode()
    words, name = names.dictionary.to_pylist(), names.indices.to_numpy().astype(np.int64)
    if words in ([], [""]):
        return clips
    split = manifest.codes("split", SPLITS)
    group = (manifest.class_index.astype(np.int64) * len(SPLITS) + split) * len(words) + name
    _, first, member = np.unique(group, return_index=True, return_inverse=True)
    nameless = np.array([word == "" for word in words])[name]
    return np.where(nameless, clips, first[member])


def evidence_of(manifest: Manifest, clips: np.ndarray) -> np.ndarray:
    """(n,) int64: what each of the clips (n,) is left out with. Its recording, or its own index where all clips of its
    class are of one recording: there is nothing better, and who reads thresholds of such a class says so.
    """
    recording, own = recording_of(manifest)[clips], manifest.class_index[clips]
    is_first = np.zeros(len(manifest), dtype=bool)
    is_first[recording] = True
    recordings = np.bincount(manifest.class_index[is_first], minlength=len(manifest.classes))  # of each class
    return np.where(recordings[own] == 1, clips, recording)


def left_out_with(manifest: Manifest) -> np.ndarray:
    """(clips,) int64: the evidence that each training clip of a set is of; other clips have their own index."""
    found, train = np.arange(len(manifest)), manifest.select("train")
    found[train] = evidence_of(manifest, train)
    return found
