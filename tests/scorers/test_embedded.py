"""Embedded: selection, the round trip through safetensors, and what it refuses."""

import dataclasses

import pytest
import safetensors.torch
import torch

from asd.errors import UserError
from asd.scorers import Embedded
from tests.embedded import embedded_of


def embedded(clips: int = 5) -> Embedded:
    generator = torch.Generator().manual_seed(0)
    return embedded_of(
        clip_index=torch.arange(clips) + 100,
        class_index=torch.arange(clips) % 2,
        embedding=torch.randn(clips, 4, generator=generator),
        logits=torch.randn(clips, 2, generator=generator),
        features=torch.randn(clips, 3, generator=generator),
    )


def test_round_trip_through_safetensors(tmp_path):
    train, test = embedded(), embedded().select(torch.tensor([3, 1]))
    path = tmp_path / "embeddings.safetensors"
    safetensors.torch.save_file(train.to_tensors("train") | test.to_tensors("test"), path)
    tensors = safetensors.torch.load_file(path)
    for prefix, before in (("train", train), ("test", test)):
        after = Embedded.from_tensors(tensors, prefix)
        for field in dataclasses.fields(Embedded):
            assert torch.equal(getattr(after, field.name), getattr(before, field.name))


def test_a_transposed_tensor_can_be_stored(tmp_path):
    turned = dataclasses.replace(embedded(), embedding=torch.randn(4, 5).T)
    safetensors.torch.save_file(turned.to_tensors("x"), tmp_path / "x.safetensors")


def test_select_by_mask_and_by_index():
    clips = embedded()
    assert clips.select(clips.class_index == 1).clip_index.tolist() == [101, 103]
    assert clips.select(torch.tensor([4, 0])).clip_index.tolist() == [104, 100]
    assert len(clips.select(torch.zeros(5, dtype=torch.bool))) == 0


def test_a_missing_tensor_is_named():
    tensors = embedded().to_tensors("train")
    del tensors["train.logits"]
    with pytest.raises(UserError, match=r"no train\.logits"):
        Embedded.from_tensors(tensors, "train")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"logits": torch.zeros(4, 2)}, "4 rows"),
        ({"embedding": torch.zeros(5, 4, dtype=torch.float16)}, "float32"),
        ({"class_index": torch.zeros(5, 1, dtype=torch.int64)}, "1 dimensions"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        dataclasses.replace(embedded(), **change)
