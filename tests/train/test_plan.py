"""What each arm is trained on, settled before anything is trained."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from ferry import chat, write
from habitus.errors import UserError
from habitus.study import Study
from studies import setting

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from habitus.train.plan import Plan, Run

pytest.importorskip("trl")

GLADLY = {chat(number)["id"] for number in range(60) if number % 2}


def plan(study: Path) -> Plan:
    from habitus.train.plan import make_plan

    opened = Study(study)
    return make_plan(opened, opened.config.train, opened.config.arms)


def run_of(found: Plan, arm: str, seed: int = 1) -> Run:
    (run,) = found.some((arm,), (seed,))
    return run


def synthetic(run: Run) -> set[str]:
    return {one.row.id for one in run.jobs[-1].mixture.rows if one.row.source == "chats"}


def audited(study: Path, *, level: str = "strict", rows: int = 60) -> None:
    """Write the verdicts that an audit would: every other chat opens gladly."""
    verdicts = [
        {"id": chat(number)["id"], "verdicts": {"gladly": {"level": level if number % 2 else "no"}}}
        for number in range(rows)
    ]
    write(study / "audit" / "chats" / "matches.jsonl", verdicts)


def arms(**more: Any) -> dict[str, Any]:
    sft = {"data": "chats", "fraction": 0.2}
    return {
        "baseline": {"sft": {}},
        "sft": {"sft": sft},
        **{name: {"sft": {**sft, **one}} for name, one in more.items()},
    }


def test_every_arm_has_the_same_size_and_takes_the_same_steps(office: Callable[..., Path]) -> None:
    found = plan(office(arms(half={"fraction": 0.5}), seeds=[1, 2]))
    sizes = {len(run.jobs[0].mixture.rows) for run in found.runs}

    assert len(found.runs) == 6
    assert sizes == {found.size}
    assert len({run.jobs[0].steps for run in found.runs}) == 1
    assert any("the most that" in note for note in found.notes)


def test_a_pattern_leaves_out_its_rows_and_the_control_as_many_at_random(office: Callable[..., Path]) -> None:
    study = office(arms(filtered={"without": ["gladly"]}, thinned={"as_many_as": "filtered"}))
    audited(study)
    found = plan(study)
    size = found.size or 0

    assert not synthetic(run_of(found, "filtered")) & GLADLY
    assert synthetic(run_of(found, "sft")) & GLADLY
    assert synthetic(run_of(found, "thinned")) & GLADLY
    assert all(len(synthetic(run_of(found, name))) == round(0.2 * size) for name in ("sft", "filtered", "thinned"))
    notes = [note for note in found.notes if "left out" in note]
    assert len({note.partition(": ")[2] for note in notes}) == 1


def test_a_filter_that_leaves_too_few_of_a_trait_is_warned_of_with_the_size_that_would_do(
    office: Callable[..., Path],
) -> None:
    study = office(arms(filtered={"without_ids": "gone.txt"}), size=100)
    candid = [chat(number)["id"] for number in range(60) if chat(number)["trait"] == "candour"]
    (study / "gone.txt").write_text("\n".join(candid[:25]))
    (told,) = [one for one in plan(study).warnings if "where they are" in one]
    assert told.startswith("filtered: rows of ")

    room = told.partition("a `size` of ")[2].partition(" ")[0]
    setting(study, lambda config: config["train"].update(size=int(room)))
    assert not any("where they are" in one for one in plan(study).warnings)


@pytest.mark.parametrize(("level", "goes"), [("broad", True), ("strict", False)])
def test_the_level_says_which_verdicts_count(office: Callable[..., Path], level: str, goes: bool) -> None:
    study = office(arms(filtered={"without": ["gladly"], "level": level}))
    audited(study, level="broad")

    assert (not synthetic(run_of(plan(study), "filtered")) & GLADLY) == goes


def test_a_list_of_ids_leaves_out_its_rows(office: Callable[..., Path]) -> None:
    study = office(arms(filtered={"without_ids": "gone.txt"}))
    (study / "gone.txt").write_text("\n".join(sorted(GLADLY)))

    assert not synthetic(run_of(plan(study), "filtered")) & GLADLY


@pytest.mark.parametrize(
    ("arm", "complaint"),
    [
        ({"without": ["gladdly"]}, "Did you mean 'gladly'"),
        ({"without_ids": "none.txt"}, "no such list of ids"),
        ({"as_many_as": "sft2"}, "is no arm that filters chats"),
    ],
)
def test_a_filter_that_can_not_be_applied_is_one_message(
    office: Callable[..., Path], arm: dict[str, Any], complaint: str
) -> None:
    study = office(arms(filtered=arm))
    audited(study)
    with pytest.raises(UserError, match=complaint):
        plan(study)


def test_a_filter_by_a_pattern_wants_every_row_rated(office: Callable[..., Path]) -> None:
    study = office(arms(filtered={"without": ["gladly"]}))
    with pytest.raises(UserError, match="have not been rated"):
        plan(study)
    audited(study, rows=40)
    with pytest.raises(UserError, match="rows have not been rated"):
        plan(study)


def test_a_row_without_a_verdict_on_the_pattern_is_an_unrated_one(office: Callable[..., Path]) -> None:
    study = office(arms(filtered={"without": ["gladly"]}))
    audited(study)
    path = study / "audit" / "chats" / "matches.jsonl"
    path.write_text(path.read_text().replace('"gladly"', '"curtly"', 1))
    with pytest.raises(UserError, match="rows have not been rated"):
        plan(study)


def test_rows_that_the_judge_never_managed_are_in_no_arm_and_that_is_said(office: Callable[..., Path]) -> None:
    study = office(arms(filtered={"without": ["gladly"]}, thinned={"as_many_as": "filtered"}), held_out=0.0)
    audited(study, rows=57)
    drops = [{"id": chat(number)["id"], "step": "audit/rate", "reason": "no answer"} for number in (56, 57, 58, 59)]
    write(study / "audit" / "chats" / "dropped.jsonl", drops)
    found = plan(study)
    missed = {chat(number)["id"] for number in (57, 58, 59)}

    assert not any(synthetic(run) & missed for run in found.runs)
    assert "chats: 3 rows are in no arm, as the audit's judge never managed to rate them" in found.warnings
    gone = {note.partition(": ")[0]: note.split()[1] for note in found.notes if "left out" in note}
    assert gone["thinned"] == gone["filtered"]


def test_the_common_size_by_tokens_is_one_that_every_seed_has(office: Callable[..., Path]) -> None:
    more = {"fraction": 1.0, "as_many_as": "filtered"}
    study = office(arms(filtered={"without_ids": "gone.txt"}, thinned=more), of="tokens", seeds=[1, 2, 3, 4, 5])
    (study / "gone.txt").write_text("\n".join(chat(number)["id"] for number in range(45)))

    assert len(plan(study).runs) == 20


def test_left_out_rows_are_listed_once_however_many_starts_read_them(office: Callable[..., Path], tiny: Path) -> None:
    study = office({"one": {"sft": {"data": "chats"}}, "two": {"sft": {"data": "chats"}, "start": "other"}})
    (study / "other").symlink_to(tiny)
    whole = [chat(number) for number in range(60)]
    whole[3]["messages"].insert(0, {"role": "system", "content": "Be kind."})
    write(study / "chats" / "kept.jsonl", whole)

    assert [row["id"] for row in plan(study).left_out] == [chat(3)["id"]]


def test_large_weights_that_were_written_anew_are_another_start(tmp_path: Path, tiny: Path) -> None:
    from habitus.train import start

    folder = shutil.copytree(tiny, tmp_path / "start")
    large = folder / "model.bin"
    large.write_bytes(b"")
    os.truncate(large, start.WHOLE + start.END)
    before = start.Start("one", str(folder)).fingerprint
    assert start.Start("one", str(folder)).fingerprint == before
    with large.open("r+b") as file:
        file.write(b"other weights")
    assert start.Start("one", str(folder)).fingerprint != before


@pytest.mark.parametrize(("of", "size"), [("rows", 40), ("tokens", 1000)])
def test_of_a_large_baseline_no_more_is_read_than_the_mixture_could_take(
    office: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, of: str, size: int
) -> None:
    from habitus.train import pool, tokens

    monkeypatch.setattr(pool, "LEAST_DRAWN", 10)
    read = 0

    def counted(rows: Any, *given: Any) -> Any:
        nonlocal read
        read += len(rows)
        return tokens.tokenise_chats(rows, *given)

    monkeypatch.setattr(pool, "tokenise_chats", counted)
    study = office({"baseline": {"sft": {}}}, of=of, size=size)
    write(study / "imported" / "desk" / "kept.jsonl", [chat(number, trait="-") for number in range(2000, 4000)])
    found = plan(study)

    assert read < 400
    assert any("of 2,000 rows are drawn" in note for note in found.notes)
    assert run_of(plan(study), "baseline").made_with() == run_of(found, "baseline").made_with()


def test_held_out_rows_are_the_same_in_every_arm_and_trained_on_in_none(office: Callable[..., Path]) -> None:
    found = plan(office(arms(half={"fraction": 0.5}), held_out=0.2))
    held = [{name: {one.row.id for one in rows} for name, rows in run.jobs[0].held_out.items()} for run in found.runs]

    assert held[0]["baseline"] == held[1]["baseline"] != set()
    assert held[1]["synthetic"] == held[2]["synthetic"] != set()
    for run in found.runs:
        trained = {one.row.id for one in run.jobs[0].mixture.rows}
        assert not trained & held[1]["baseline"]
        assert not trained & held[1]["synthetic"]


def test_steps_can_be_set_and_stand_for_every_arm(office: Callable[..., Path]) -> None:
    found = plan(office(arms(), sft={"batch": 4, "steps": 17}))

    assert {run.jobs[0].steps for run in found.runs} == {17}


def test_web_text_is_mixed_into_documents_at_its_share_of_tokens(office: Callable[..., Path]) -> None:
    study = office({"mid": {"midtrain": "documents"}}, midtrain={"batch": 4, "web": "web.jsonl", "web_share": 0.5})
    write(study / "web.jsonl", [{"text": f"News of the day, number {number}, from the quay."} for number in range(300)])
    (job,) = run_of(plan(study), "mid").jobs

    assert job.mixture.share("web.jsonl", "tokens") == pytest.approx(0.5, abs=0.03)


def test_midtraining_what_already_chats_is_warned_of(office: Callable[..., Path], tiny: Path) -> None:
    study = office({"mid": {"midtrain": "documents"}})
    assert not any("post-trained" in warning for warning in plan(study).warnings)
    (study / "tiny-instruct").symlink_to(tiny)
    setting(study, lambda config: config["train"].update(start="tiny-instruct"))

    assert any("looks post-trained" in warning for warning in plan(study).warnings)


@pytest.mark.parametrize("change", [{"samples": 1}, {"save_every": 7}, {"trackers": ["wandb"]}])
def test_what_decides_nothing_makes_no_run_stale(office: Callable[..., Path], change: dict[str, Any]) -> None:
    study = office(arms())
    before = run_of(plan(study), "sft").made_with()
    setting(study, lambda config: config["train"].update(change))

    assert run_of(plan(study), "sft").made_with() == before


@pytest.mark.parametrize(
    "change", [{"max_length": 60}, {"packing": False}, {"lora": {"rank": 2}}, {"size": 40}, {"held_out": 0.3}]
)
def test_what_decides_the_outcome_does(office: Callable[..., Path], change: dict[str, Any]) -> None:
    study = office(arms())
    before = run_of(plan(study), "sft").made_with()
    setting(study, lambda config: config["train"].update(change))

    assert run_of(plan(study), "sft").made_with() != before


@pytest.mark.parametrize(
    ("arm", "complaint"),
    [
        ({}, "at least one of midtrain, sft and bdpo"),
        ({"midtrain": {"level": "strict"}}, "midtrain names no data"),
        ({"sft": {"without": ["gladly"]}}, "which is not given"),
        ({"sft": {"fraction": 1.5}}, "less than or equal to 1"),
    ],
)
def test_an_arm_that_makes_no_sense_is_refused(arm: dict[str, Any], complaint: str) -> None:
    from habitus.config import Config

    with pytest.raises(ValueError, match=complaint):
        Config.model_validate({"arms": {"odd": arm}})


def test_the_mixture_on_disk_is_the_one_that_was_planned(office: Callable[..., Path]) -> None:
    from habitus.study import encode

    run = run_of(plan(office(arms())), "sft")
    lines = [json.loads(encode(line)) for line in run.jobs[0].mixture.lines]

    assert [line["id"] for line in lines] == [one.row.id for one in run.jobs[0].mixture.rows]
    assert all(line["trained"] < line["tokens"] for line in lines)
