"""EmbeddingTable: selection, the round trip through safetensors, and what it refuses."""

import dataclasses

import pytest
import safetensors.torch
import torch

from asd.errors import UserError
from asd.scorers import EmbeddingTable
from asd.scorers.embeddings import mean_by
from asd.scorers.residuals import ResidualMoments
from tests.support.embedded import embedded_of


def embedded(clips: int = 5) -> EmbeddingTable:
    generator = torch.Generator().manual_seed(0)
    return embedded_of(
        clip_index=torch.arange(clips) + 100,
        class_index=torch.arange(clips) % 2,
        embedding=torch.randn(clips, 4, generator=generator),
        logits=torch.randn(clips, 2, generator=generator),
        features=torch.randn(clips, 3, generator=generator),
        domain=torch.arange(clips) % 3,
        errors=torch.rand(clips, 3, generator=generator),
    )


BESIDE = ("residuals", "views", "known_faults")  # the rows
COLUMNS = [field.name for field in dataclasses.fields(EmbeddingTable) if field.name not in BESIDE]


def moments() -> ResidualMoments:
    found = ResidualMoments.zeros(2, 4, torch.device("cpu"))
    found.add(torch.randn(5, 7, 4), torch.arange(5), torch.ones(5, dtype=torch.bool))
    return found


def test_round_trip_through_safetensors(tmp_path):
    train, test = embedded(), embedded().select(torch.tensor([3, 1]))
    path = tmp_path / "embeddings.safetensors"
    safetensors.torch.save_file(train.to_tensors("train") | test.to_tensors("test"), path)
    tensors = safetensors.torch.load_file(path)
    for prefix, before in (("train", train), ("test", test)):
        after = EmbeddingTable.from_tensors(tensors, prefix, {"whole": (0, 4, 2)})
        assert after.views == {"whole": (0, 4, 2)}
        for name in COLUMNS:
            assert torch.equal(getattr(after, name), getattr(before, name))


def test_a_transposed_tensor_can_be_stored(tmp_path):
    turned = dataclasses.replace(embedded(), embedding=torch.randn(4, 5).T)
    safetensors.torch.save_file(turned.to_tensors("x"), tmp_path / "x.safetensors")


def test_select_by_mask_and_by_index():
    clips = embedded()
    assert clips.select(clips.class_index == 1).clip_index.tolist() == [101, 103]
    assert clips.select(torch.tensor([4, 0])).clip_index.tolist() == [104, 100]
    assert len(clips.select(torch.zeros(5, dtype=torch.bool))) == 0


def test_join_is_both_one_after_the_other():
    one, other = embedded(), embedded(3)
    both = dataclasses.replace(one, residuals=moments()).join(other)
    for name in COLUMNS:
        assert torch.equal(getattr(both, name), torch.cat([getattr(one, name), getattr(other, name)]))
    assert both.residuals is not None


def test_a_part_of_the_clips_keeps_the_residuals_of_all():
    clips = dataclasses.replace(embedded(), residuals=moments())
    assert clips.select(torch.tensor([1])).residuals is clips.residuals
    assert clips.select(torch.tensor([1, 0, 1])).per_clip().residuals is clips.residuals


def test_one_row_a_clip_is_the_mean_over_its_windows():
    order = torch.tensor([4, 1, 1, 0, 4, 1])  # windows of one clip need not lie together
    clips = embedded()
    windows = clips.select(order)
    shift = torch.tensor([1.0, 5.0, -2.0, 0.0, 3.0, 6.0])  # mean of clip 1: 3, of clip 4: 2
    windows = dataclasses.replace(windows, embedding=windows.embedding + shift[:, None])
    found = windows.per_clip()
    assert (found.clip_index.tolist(), found.class_index.tolist()) == ([100, 101, 104], [0, 1, 0])
    assert found.domain.tolist() == [0, 1, 1]
    expected = clips.embedding[[0, 1, 4]] + torch.tensor([[0.0], [3.0], [2.0]])
    torch.testing.assert_close(found.embedding, expected)
    for name in ("logits", "errors", "features"):
        torch.testing.assert_close(getattr(found, name), getattr(clips, name)[[0, 1, 4]])


def test_one_row_a_clip_already_is_left_as_it_is():
    clips = embedded()
    assert clips.per_clip() is clips
    turned = clips.select(torch.tensor([2, 0, 1])).per_clip()
    assert turned.clip_index.tolist() == [100, 101, 102]
    assert torch.equal(turned.embedding, clips.embedding[:3])
    none = clips.select(torch.zeros(5, dtype=torch.bool))
    assert len(none.per_clip()) == 0


def test_large_indices_survive_the_mean():
    clip = torch.tensor([2**40 + 1] * 3 + [2**40 + 2] * 7)
    windows = embedded_of(torch.ones(10, 1), clip_index=clip, class_index=clip % 1000)
    assert windows.per_clip().clip_index.tolist() == [2**40 + 1, 2**40 + 2]
    assert windows.per_clip().class_index.tolist() == [(2**40 + 1) % 1000, (2**40 + 2) % 1000]


def test_means_by_position():
    rows, position = torch.randn(20, 3), torch.randint(4, (20,))
    position[:4] = torch.arange(4)
    found = mean_by(rows, position, 4)
    for p in range(4):
        torch.testing.assert_close(found[p], rows[position == p].double().mean(0))
    assert mean_by(torch.ones(2), torch.tensor([1, 0]), 2).tolist() == [1.0, 1.0]


def test_a_missing_tensor_is_named():
    tensors = embedded().to_tensors("train")
    del tensors["train.logits"]
    with pytest.raises(UserError, match=r"no train\.logits"):
        EmbeddingTable.from_tensors(tensors, "train", {})


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
