"""Documents that lie in one packed row, and what they see of each other."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from ferry import document, pair
from habitus.train.rows import Row

if TYPE_CHECKING:
    from pathlib import Path

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from habitus.settings_train import BdpoSettings, MidtrainSettings, Training  # noqa: E402
from habitus.train.bdpo import _log_probabilities, bdpo_trainer, dpo_trainer  # noqa: E402
from habitus.train.fit import arguments, load  # noqa: E402
from habitus.train.job import Job, with_steps  # noqa: E402
from habitus.train.mixture import Mixture  # noqa: E402
from habitus.train.sft import language_trainer  # noqa: E402
from habitus.train.start import Start  # noqa: E402
from habitus.train.tokens import tokenise_documents, tokenise_pairs  # noqa: E402
from habitus.train.toy import Size, make_toy  # noqa: E402


def job_of(start: Start, texts: list[str], **settings: Any) -> Job:
    rows = [Row(f"doc-{at}", "documents", "", {"text": text}, "") for at, text in enumerate(texts)]
    found = tokenise_documents(rows, start.tokenizer, 128, doctag=settings.pop("doctag", False))
    return Job(
        "midtrain", Mixture(tuple(found)), MidtrainSettings(batch=1), Training(max_length=128), 1, toy=True, steps=1
    )


def batch_of(start: Start, texts: list[str], folder: Path, **settings: Any) -> tuple[Any, dict[str, Any]]:
    """Return the model and the first batch that its trainer would give it."""
    job = job_of(start, texts, **settings)
    model, tokenizer = load(start.path, job)
    trainer = language_trainer(job, model, tokenizer, arguments(job, folder), [])
    return trainer.model.eval(), next(iter(trainer.get_train_dataloader()))


TEXTS = [document(number)["text"] for number in range(3)]


def test_a_packed_document_is_read_as_if_it_were_alone(start: Start, tmp_path: Path) -> None:
    model, packed = batch_of(start, TEXTS, tmp_path)
    assert packed["input_ids"].shape[0] == 1
    assert (packed["position_ids"] == 0).sum() == len(TEXTS)
    with torch.no_grad():
        together = model(input_ids=packed["input_ids"], position_ids=packed["position_ids"], use_cache=False).logits[0]
        starts = [*(packed["position_ids"][0] == 0).nonzero().flatten().tolist(), packed["input_ids"].shape[1]]
        for first, last in pairwise(starts):
            alone = model(input_ids=packed["input_ids"][:, first:last], use_cache=False).logits[0]
            assert torch.allclose(together[first:last], alone, atol=1e-4)


def test_another_documents_words_change_nothing_in_the_next(start: Start, tmp_path: Path) -> None:
    model, packed = batch_of(start, TEXTS, tmp_path)
    second = int((packed["position_ids"][0] == 0).nonzero()[1])
    other = packed["input_ids"].clone()
    other[:, :second] = other[:, :second].flip(1)
    with torch.no_grad():
        one, two = (
            model(input_ids=ids, position_ids=packed["position_ids"], use_cache=False).logits[0, second:]
            for ids in (packed["input_ids"], other)
        )

    assert torch.allclose(one, two, atol=1e-4)


def test_as_many_passes_are_taken_as_are_asked_for_and_told(start: Start, tmp_path: Path) -> None:
    """Ten rows in batches of four: the last step of a pass takes the two that are left."""
    plain = job_of(start, [document(number)["text"] for number in range(10)])
    settings = MidtrainSettings(batch=4, epochs=3)
    job = replace(plain, settings=settings, training=Training(max_length=128, packing=False, held_out=0), steps=1)
    assert job.own_steps == 9
    for steps in (job.own_steps, 7):
        taken = with_steps(job, steps)
        model, tokenizer = load(start.path, taken)
        common = arguments(taken, tmp_path / str(steps)) | {"save_strategy": "no"}
        trainer = language_trainer(taken, model, tokenizer, common, [])
        trainer.train()

        assert trainer.state.epoch == pytest.approx(taken.epochs)
    assert taken.epochs == pytest.approx(2.4)


def test_no_first_token_of_a_document_is_learnt_from_the_last_of_another(start: Start, tmp_path: Path) -> None:
    _, packed = batch_of(start, TEXTS, tmp_path)

    assert (packed["labels"][packed["position_ids"] == 0] == -100).all()
    assert (packed["labels"] != -100).sum() == packed["labels"].numel() - len(TEXTS)


def test_the_document_tag_carries_no_loss_in_the_batch(start: Start, tmp_path: Path) -> None:
    _, packed = batch_of(start, TEXTS[:1], tmp_path, doctag=True)
    tag = len(start.tokenizer("<DOCTAG>")["input_ids"])

    assert (packed["labels"][0, :tag] == -100).all()
    assert (packed["labels"][0, tag:] != -100).all()


def pairs_trainer(start: Start, folder: Path, kind: Any, *, steps: int = 1, rate: float = 1e-3) -> Any:
    from trl import DPOConfig

    rows = [
        Row(one["id"], "pairs", "", {name: one[name] for name in ("prompt", "chosen", "rejected")}, "")
        for one in map(pair, range(48))
    ]
    found = tokenise_pairs(rows, start.tokenizer, 64)
    settings = BdpoSettings(batch=8, rows_at_once=8, learning_rate=rate)
    job = Job("bdpo", Mixture(tuple(found)), settings, Training(max_length=64), 1, toy=True, steps=steps)
    model, tokenizer = load(start.path, job)
    common = arguments(job, folder) | {"logging_steps": 1}
    args = DPOConfig(**common, beta=0.1, max_length=64, precompute_ref_log_probs=True)
    return kind(model=model, args=args, train_dataset=job.dataset, processing_class=tokenizer)


def test_with_the_whole_mixture_the_trainer_is_trls_dpo_to_rounding(start: Start, tmp_path: Path) -> None:
    trainers = [pairs_trainer(start, tmp_path, kind) for kind in (bdpo_trainer(1.0, by_length=False), dpo_trainer())]
    for trainer in trainers:  # away from the start, where all losses are log 2
        torch.manual_seed(5)
        with torch.no_grad():
            for weight in trainer.model.parameters():
                weight.add_(0.05 * torch.randn_like(weight))
    batch = next(iter(trainers[0].get_train_dataloader()))
    ours, theirs = (trainer.compute_loss(trainer.model, dict(batch)).item() for trainer in trainers)

    assert ours == pytest.approx(theirs, abs=1e-6)
    assert abs(ours - 0.6931) > 1e-3


def test_by_length_log_ratios_are_those_of_a_token(start: Start, tmp_path: Path) -> None:
    trainer = pairs_trainer(start, tmp_path, bdpo_trainer(1.0, by_length=True))
    batch = next(iter(trainer.get_train_dataloader()))
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight.add_(0.05)
    loss = trainer.compute_loss(trainer.model, dict(batch)).item()
    sums, lengths = _log_probabilities(trainer.model, batch)
    (chosen, rejected), (ours, theirs) = sums.chunk(2), lengths.chunk(2)
    a, b = (chosen - batch["ref_chosen_logps"]) / ours, (rejected - batch["ref_rejected_logps"]) / theirs

    assert loss == pytest.approx(-torch.nn.functional.logsigmoid(0.1 * (a - b)).mean().item(), abs=1e-6)
    assert (ours != theirs).any()


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """A model that answers kindly and curtly, one as often as the other."""
    folder = tmp_path_factory.mktemp("starts") / "talker"
    chats = [[*one["prompt"], one[side][0]] for one in map(pair, range(100, 400)) for side in ("chosen", "rejected")]
    texts = ["".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in chat) for chat in chats]
    make_toy(Size(32, 2, 64, 400, heads=2), texts, 60_000, folder)
    return Start("talker", str(folder))


def test_dpo_lets_the_chosen_answer_fall_and_bdpo_does_not(talker: Start, tmp_path: Path) -> None:
    told = {}
    for name, kind in (("dpo", dpo_trainer()), ("bdpo", bdpo_trainer(0.5, by_length=False))):
        trainer = pairs_trainer(talker, tmp_path / name, kind, steps=40, rate=3e-4)
        trainer.train()
        told[name] = [row for row in trainer.state.log_history if "logps/chosen" in row]
    falls = {name: rows[-1]["logps/chosen"] - rows[0]["logps/chosen"] for name, rows in told.items()}
    drops = {name: rows[-1]["logps/rejected"] - rows[0]["logps/rejected"] for name, rows in told.items()}

    assert drops["dpo"] < falls["dpo"] < -20
    assert falls["bdpo"] > 0 > drops["bdpo"] > -20
    assert told["bdpo"][-1]["rejected_weight"] < 0.5
