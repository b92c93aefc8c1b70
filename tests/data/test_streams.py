"""What a batch is made of: source and target clips of the machines, and outliers beside them."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pydantic
import pytest

from asd.data.loader import Request, training_requests
from asd.data.manifest import DOMAINS, Manifest
from asd.data.plan import Plan, make_plan
from asd.data.streams import StreamsConfig, make_streams
from asd.data.subset import restrict
from asd.errors import UserError
from tests.support.streams import CROP, plan_of, refusal, splits_of

SOURCE, TARGET = DOMAINS.index("source"), DOMAINS.index("target")


def machines(manifest: Manifest, clips: np.ndarray) -> set[tuple[str, str]]:
    return set(zip(manifest.strings("machine_type", clips), manifest.strings("machine_id", clips), strict=True))


@pytest.fixture(scope="module")
def fans(domain_manifest: Manifest) -> Manifest:
    return restrict(domain_manifest, ["fan"])


def test_by_default_all_training_clips_are_one_stream(domain_manifest: Manifest) -> None:
    (stream,) = make_streams(StreamsConfig(), domain_manifest, splits_of(domain_manifest), 24)
    assert stream.clips.tolist() == domain_manifest.select("train").tolist()
    assert len(stream.clips) == 6 * 19
    assert stream.batch == 24


@pytest.mark.parametrize(("domain", "index", "count"), [("source", SOURCE, 16), ("target", TARGET, 3)])
def test_domains_name_those_of_the_own_clips(domain_manifest: Manifest, domain: str, index: int, count: int) -> None:
    (stream,) = make_streams(StreamsConfig(domains=(domain,)), domain_manifest, splits_of(domain_manifest), 12)
    assert set(domain_manifest.domain_index[stream.clips]) == {index}
    assert np.bincount(stream.classes).tolist() == [count] * 6
    both = StreamsConfig(domains=("source", "target"))
    assert len(make_streams(both, domain_manifest, splits_of(domain_manifest), 12)[0].clips) == 6 * 19


def test_validation_and_test_clips_are_in_no_stream(domain_manifest: Manifest) -> None:
    part = restrict(domain_manifest, ["fan"], ["00", "01"])
    splits = splits_of(part, val_fraction=0.3)
    config = StreamsConfig(target="rows", target_rows=4, outliers="other_machines", outlier_rows=4)
    streams = make_streams(config, part, splits, 16)
    used = np.concatenate([stream.clips for stream in streams])
    assert not np.intersect1d(used, splits.validation).size
    assert {part.strings("split", used)[i] for i in range(len(used))} == {"train"}


def test_target_rows_are_target_clips_of_the_machines(fans: Manifest) -> None:
    config = StreamsConfig(domains=("source",), target="rows", target_rows=8)
    plan = plan_of(fans, config)
    for epoch in range(3):
        steps = plan.epoch(epoch)
        assert {name: rows.shape for name, rows in steps.items()} == {"all": (3, 16), "target": (3, 8)}
        assert set(fans.domain_index[steps["all"].ravel()]) == {SOURCE}
        assert set(fans.domain_index[steps["target"].ravel()]) == {TARGET}
        assert machines(fans, steps["target"].ravel()) <= {("fan", "00"), ("fan", "01"), ("fan", "02")}


@pytest.mark.parametrize("rows", [4, 12])  # fewer and more than the nine target clips
@pytest.mark.parametrize("run_length", [1, 4, 16])
def test_few_target_clips_go_round_evenly(fans: Manifest, rows: int, run_length: int) -> None:
    config = StreamsConfig(domains=("source",), target="rows", target_rows=rows)
    plan = plan_of(fans, config, batch=16 + rows, run_length=run_length)
    drawn = np.concatenate([plan.epoch(epoch)["target"].ravel() for epoch in range(15)])
    counts = np.unique(drawn, return_counts=True)[1]
    assert len(counts) == 9
    assert counts.max() - counts.min() <= 1
    for step in plan.epoch(2)["target"]:
        within = np.unique(step, return_counts=True)[1]
        assert within.max() <= -(-rows // 9) + 1  # a round may end and begin in one batch


def test_pairs_have_one_class_and_come_from_within_and_across_domains(fans: Manifest) -> None:
    plan = plan_of(fans, StreamsConfig(target="pairs"), batch=16)
    kinds: dict[tuple[int, int], int] = {}
    for epoch in range(60):
        steps = plan.epoch(epoch)
        assert (fans.class_index[steps["all"]] == fans.class_index[steps["target"]]).all()
        for pair in zip(*(fans.domain_index[steps[name]].ravel().tolist() for name in ("all", "target")), strict=True):
            kinds[pair] = kinds.get(pair, 0) + 1
    total, own_target = sum(kinds.values()), 3 / 19  # of the clips of a class
    assert set(kinds) == {(SOURCE, SOURCE), (SOURCE, TARGET), (TARGET, SOURCE), (TARGET, TARGET)}
    for (own, partner), count in kinds.items():
        share = (own_target if own == TARGET else 1 - own_target) / 2
        assert abs(count / total - share) < 5 * np.sqrt(share / total), (own, partner)


def test_a_class_of_one_domain_is_paired_within_it(fans: Manifest) -> None:
    splits = splits_of(fans)
    lost = (fans.class_index[splits.train] == 1) & (fans.domain_index[splits.train] == SOURCE)
    few = replace(splits, train=splits.train[~lost])
    plan = make_plan(make_streams(StreamsConfig(target="pairs", pair_target=0.2), fans, few, 16), 4, 1)
    rows = plan.epoch(0)
    assert (fans.class_index[rows["all"]] == fans.class_index[rows["target"]]).all()
    assert (fans.domain_index[rows["target"][fans.class_index[rows["target"]] == 1]] == TARGET).all()


def test_partners_may_all_be_of_the_target_domain(fans: Manifest) -> None:
    plan = plan_of(fans, StreamsConfig(domains=("source",), target="pairs", pair_target=1.0), batch=16)
    drawn = []
    for epoch in range(6):
        steps = plan.epoch(epoch)
        assert steps["all"].shape == steps["target"].shape == (6, 8)
        assert (fans.class_index[steps["all"]] == fans.class_index[steps["target"]]).all()
        assert (fans.domain_index[steps["all"]] == SOURCE).all()
        assert (fans.domain_index[steps["target"]] == TARGET).all()
        drawn.append(steps["target"].ravel())
    assert len(np.unique(np.concatenate(drawn))) == 9  # all of them
    assert len({d.tobytes() for d in drawn}) == 6


def test_one_section_of_each_step_is_of_the_target_domain(fans: Manifest) -> None:
    config = StreamsConfig(domains=("source",), target="one_section")
    plan, before = plan_of(fans, config, batch=16), plan_of(fans, StreamsConfig(domains=("source",)), batch=16)
    chosen = []
    for epoch in range(40):
        (rows,) = plan.epoch(epoch).values()
        former = before.epoch(epoch)["all"]
        assert rows.shape == former.shape == (3, 16)
        for step, without in zip(rows, former, strict=True):
            classes, of_target = fans.class_index[step], fans.domain_index[step] == TARGET
            assert (classes == fans.class_index[without]).all()
            assert (step[~of_target] == without[~of_target]).all()
            (section,) = set(classes[of_target])
            assert (of_target == (classes == section)).all()
            chosen.append(int(section))
    counts = np.bincount(chosen, minlength=3)
    assert abs(counts - 40).max() < 5 * np.sqrt(120 * 2 / 9)


def test_outliers_of_other_machines(fans: Manifest) -> None:
    plan = plan_of(fans, StreamsConfig(outliers="other_machines", outlier_rows=12))
    steps = plan.epoch(0)
    assert [rows.shape[1] for rows in steps.values()] == [12, 12]
    assert machines(fans, steps["all"].ravel()) == {("fan", "00"), ("fan", "01"), ("fan", "02")}
    assert {machine for machine, _ in machines(fans, steps["outliers"].ravel())} == {"valve"}
    assert set(fans.class_index[steps["outliers"].ravel()]) == {-1}
    drawn = np.concatenate([plan.epoch(epoch)["outliers"].ravel() for epoch in range(3)])
    assert len(np.unique(drawn)) == 3 * 19


def test_outliers_of_other_sections(domain_manifest: Manifest) -> None:
    part = restrict(domain_manifest, ["fan"], ["00", "02"])
    streams = make_streams(StreamsConfig(outliers="other_sections", outlier_rows=4), part, splits_of(part), 16)
    assert machines(part, streams[1].clips) == {("fan", "01")}
    streams = make_streams(StreamsConfig(outliers="other_machines", outlier_rows=4), part, splits_of(part), 16)
    assert machines(part, streams[1].clips) == {("valve", section) for section in ("00", "01", "02")}


def test_other_sections_are_those_of_every_type_where_ids_alone_are_named(domain_manifest: Manifest) -> None:
    part = restrict(domain_manifest, (), ["00"])
    streams = make_streams(StreamsConfig(outliers="other_sections", outlier_rows=4), part, splits_of(part), 16)
    assert machines(part, streams[1].clips) == {(m, section) for m in ("fan", "valve") for section in ("01", "02")}


def test_target_rows_and_outliers_in_one_batch(fans: Manifest) -> None:
    config = StreamsConfig(domains=("source",), target="rows", target_rows=4, outliers="other_machines", outlier_rows=8)
    assert config.shares(24) == {"own": 12, "target": 4, "outliers": 8}
    steps = plan_of(fans, config).epoch(1)
    assert {name: rows.shape for name, rows in steps.items()} == {"all": (4, 12), "target": (4, 4), "outliers": (4, 8)}


def test_shares() -> None:
    assert StreamsConfig().shares(16) == {"own": 16}
    assert StreamsConfig(target="rows", target_rows=6).shares(16) == {"own": 10, "target": 6}
    assert StreamsConfig(target="pairs").shares(16) == {"own": 8, "target": 8}
    assert StreamsConfig(target="one_section").shares(16) == {"own": 16}
    assert StreamsConfig(outliers="other_sections", outlier_rows=8).shares(16) == {"own": 8, "outliers": 8}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"target": "rows"}, "target=rows and target_rows belong together"),
        ({"target_rows": 4}, "target=rows and target_rows belong together"),
        ({"target": "pairs", "target_rows": 4}, "target=rows and target_rows belong together"),
        ({"outliers": "other_machines"}, "outliers and outlier_rows belong together"),
        ({"outlier_rows": 4}, "outliers and outlier_rows belong together"),
        ({"target_rows": -1}, "greater than or equal to 0"),
        ({"domains": ("mars",)}, "'source' or 'target'"),
        ({"target": "row"}, "'none', 'rows', 'pairs' or 'one_section'"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings: dict[str, object], told: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=told):
        StreamsConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"domains": ("source",)}, "no training clip is of the source domain"),
        ({"domains": ("source", "target")}, "no training clip is of the source or target domain"),
        ({"target": "rows", "target_rows": 4}, "no training clip is of the target domain"),
        ({"target": "one_section"}, "no training clip is of the target domain"),
    ],
)
def test_domains_that_the_set_does_not_know_are_refused(
    small_manifest: Manifest, settings: dict[str, object], told: str
) -> None:
    assert refusal(small_manifest, StreamsConfig(**settings)) == f"{small_manifest.root}: {told}"


def test_outliers_need_clips_that_are_left_over(domain_manifest: Manifest, fans: Manifest) -> None:
    machines, sections = (StreamsConfig(outliers=kind, outlier_rows=4) for kind in ("other_machines", "other_sections"))
    where = f"{domain_manifest.root}: there are no other"
    assert refusal(domain_manifest, machines).startswith(f"{where} types to take outliers from")
    assert refusal(domain_manifest, machines).endswith("name the trained ones in data.machine_types")
    assert refusal(fans, sections).startswith(f"{where} machine IDs to take outliers from")
    assert refusal(fans, sections).endswith("name the trained ones in data.machine_ids")


def test_a_class_without_a_target_clip_cannot_be_paired(fans: Manifest) -> None:
    splits = splits_of(fans)
    lost = (fans.class_index[splits.train] == 1) & (fans.domain_index[splits.train] == TARGET)
    with pytest.raises(UserError, match="class fan/01 has no training clip of the target domain to pair with"):
        make_streams(StreamsConfig(target="pairs"), fans, replace(splits, train=splits.train[~lost]), 16)


def test_own_clips_must_fill_their_rows(fans: Manifest) -> None:
    streams = StreamsConfig(domains=("target",), outliers="other_machines", outlier_rows=4)
    with pytest.raises(UserError, match="9 training clips cannot fill the 12 rows of a global batch that are theirs"):
        plan_of(fans, streams, batch=16)


KINDS = {
    "target rows": StreamsConfig(domains=("source",), target="rows", target_rows=8),
    "pairs": StreamsConfig(target="pairs"),
    "one section": StreamsConfig(domains=("source",), target="one_section"),
    "outliers": StreamsConfig(outliers="other_machines", outlier_rows=12),
    "all": StreamsConfig(
        domains=("source",), target="rows", target_rows=4, outliers="other_machines", outlier_rows=8
    ),
}  # fmt: skip


def asked(manifest: Manifest, plan: Plan, rank: int = 0, ranks: int = 1, at: tuple[int, int] = (0, 0)) -> list[Request]:
    return list(islice(training_requests(manifest, plan, CROP, *at, rank, ranks), 9))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("run_length", [1, 8])
def test_any_number_of_ranks_shares_the_same_batches(fans: Manifest, kind: str, run_length: int) -> None:
    """Rank by rank the rows of each stream lie one behind the other; together they are the plan's."""
    plan = plan_of(fans, KINDS[kind], run_length=run_length)
    shares = [stream.batch for stream in plan.streams if stream.batch]
    for ranks in (1, 2, 4):
        parts = [asked(fans, plan, rank, ranks) for rank in range(ranks)]
        for at in range(9):
            epoch, step = divmod(at, plan.steps_per_epoch)
            planned = [rows[step] for rows in plan.epoch(epoch).values()]
            assert sum(shares) == sum(map(len, planned)) == 24
            for rank, part in enumerate(p[at] for p in parts):
                assert part.first_row == rank * 24 // ranks
                own = [rows.reshape(ranks, -1)[rank] for rows in planned]
                assert part.clips.tolist() == np.concatenate(own).tolist()
                assert (part.epoch, part.step) == (epoch, step)
                assert ((part.starts >= 0) & (part.starts <= 4_000)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_in_mid_epoch(fans: Manifest, kind: str) -> None:
    unbroken = list(islice(training_requests(fans, plan_of(fans, KINDS[kind]), CROP, 0, 0, 1, 2), 12))
    plan = plan_of(fans, KINDS[kind])
    for begin in (1, 3):
        resumed = asked(fans, plan, 1, 2, divmod(begin, plan.steps_per_epoch))
        for again, before in zip(resumed, unbroken[begin:], strict=False):
            assert again.clips.tolist() == before.clips.tolist()
            assert again.starts.tolist() == before.starts.tolist()
            assert (again.epoch, again.step, again.first_row) == (before.epoch, before.step, before.first_row)
