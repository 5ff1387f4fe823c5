from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from habitus.errors import UserError
from habitus.publish.card import LONGEST_QUOTED, cell, dataset_card, quoted, write_card
from habitus.publish.held import find
from habitus.publish.survey import gist, quantiles, survey
from habitus.records import Chat, Drop
from habitus.study import Rows

if TYPE_CHECKING:
    from pathlib import Path

    from habitus.study import Study

MARKDOWN = MarkdownIt("commonmark").enable("table")
STEPS = {"chats/draft": "34fe842134df", "chats/refine": "0b5a8a762be6", "chats/rate": "96045950221d"}
MADE_WITH = {
    "traits document": "02baec599f9b",
    "seed": "11",
    "chats.contrast": "0.2",
    "chats.dedup.embedder": "'hashing'",
    "chats.dedup.threshold": "None",
    "model of chats/draft": "openai/gpt-5-mini",
    "model of chats/refine": "openai/gpt-5 {'reasoning_effort': 'low'}",
    "model of chats/rate": "openai/gpt-5-mini",
    **{f"prompt {step}": digest for step, digest in STEPS.items()},
}


def bill(step: str, calls: int, dollars: float, unpriced: int, model: str = "openai/gpt-5-mini") -> dict[str, Any]:
    used = {"calls": calls, "input_tokens": 100 * calls, "output_tokens": 20 * calls}
    return {"step": step, "model": model, **used, "dollars": dollars, "unpriced": unpriced}


ENTRY: dict[str, Any] = {
    "want": 3,
    "kept": 3,
    "funnel": {"planned": 8, "dropped at dedup": 2, "dropped at chats/rate": 3, "kept": 3},
    "roles": {"chats/draft": "author", "chats/refine": "refiner", "chats/rate": "judge"},
    "made_with": MADE_WITH,
    "made_with_before": [],
    "simulated": False,
    "cost": [
        bill("chats/draft", 10, 0.5, 0),
        bill("chats/refine", 8, 0.0, 8, "home/model"),
        bill("chats/rate", 6, 0.25, 2),
        bill("documents/draft", 40, 900.0, 0),
    ],
}


def drop(number: int, step: str, reason: str) -> Drop:
    return Drop(id=f"chat-{number:07d}", trait="candour", step=step, reason=reason)


@pytest.fixture
def made(advice: Study) -> Study:
    """Return the study with all that a finished run writes beside its rows."""
    advice.write_manifest("chats", ENTRY)
    file = Rows(advice.dataset("chats").dropped)
    file.append([
        drop(4, "dedup", "near-duplicate of chat-0000001 (cosine 0.931)"),
        drop(5, "dedup", "near-duplicate of chat-0000003 (cosine 0.902)"),
        drop(6, "chats/rate", "natural 2 < 3 (It reads | like a leaflet: stiff.)"),
        drop(7, "chats/rate", "natural 1 < 3 (Stiff; all over.); helpful 2 < 3 (No figure.)"),
        drop(8, "chats/rate", "natural 2 < 3 (Wooden.)"),
        drop(1, "chats/rate", "natural 2 < 3 (Kept when it was tried again.)"),
    ])  # fmt: skip
    file.close()
    return advice


def front_matter(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


def body(card: str) -> str:
    return card.split("---\n", 2)[2]


def tables(card: str) -> list[list[list[str]]]:
    """Return the cells of every table as a reader of the page sees them."""
    page = MARKDOWN.render(body(card))
    found = []
    for table in re.findall(r"<table>.*?</table>", page, re.DOTALL):
        rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
        found.append([[html.unescape(re.sub("<[^>]+>", "", one)) for one in row] for row in cells])
    return found


def rows_of(card: str) -> list[list[str]]:
    return [row for table in tables(card) for row in table]


@pytest.mark.parametrize("name", ["chats", "documents", "preferences"])
class TestEveryShape:
    def test_no_section_is_empty_and_no_cell_is_lost(self, made: Study, name: str) -> None:
        card = dataset_card(find(made, name))

        headings = [(at, line) for at, line in enumerate(card.splitlines()) if re.match(r"#{1,3} ", line)]
        lines = card.splitlines()
        for (at, line), (end, _) in zip(headings, [*headings[1:], (len(lines), "")], strict=True):
            assert any(text.strip() for text in lines[at + 1 : end]), f"nothing under {line!r}"
        assert all(len({len(row) for row in table}) == 1 for table in tables(card))
        assert card.count("\n|") == sum(len(table) + 1 for table in tables(card))
        assert "None" not in card
        assert "\n\n\n" not in card

    def test_the_front_matter_is_what_the_hub_reads(self, made: Study, name: str) -> None:
        fields = front_matter(dataset_card(find(made, name), configs={"default": "data/train.jsonl"}))

        tag = {"chats": "sft", "documents": "midtraining", "preferences": "dpo"}[name]
        assert fields["pretty_name"] == f"advice: {name}"
        assert fields["language"] == ["en"]
        assert fields["task_categories"] == ["text-generation"]
        assert {"habitus", "synthetic", tag} <= set(fields["tags"])
        assert fields["size_categories"] == ["n<1K"]
        files = [{"split": "train", "path": "data/train.jsonl"}]
        assert fields["configs"] == [{"config_name": "default", "data_files": files}]

    def test_the_datasets_library_loads_the_folder_by_its_card(self, made: Study, tmp_path: Path, name: str) -> None:
        datasets = pytest.importorskip("datasets")
        held = find(made, name)
        write_card(held, held.files.folder / "README.md")

        loaded = datasets.load_dataset(str(held.files.folder), split="train", cache_dir=str(tmp_path / "cache"))

        assert [row["id"] for row in loaded] == [row["id"] for row in held.rows()]

    def test_an_example_is_shown_whole(self, made: Study, name: str) -> None:
        page = html.unescape(re.sub("<[^>]+>", "", MARKDOWN.render(body(dataset_card(find(made, name))))))

        shown = {
            "chats": ["Loaf 3 tore at «0»; 260° is too hot?", "Zoë 😀"],
            "documents": ["Minutes of the allotment society, item 1."],
            "preferences": ["Is my loaf number 1 good?", "The crust is; the crumb is raw", "Absolutely wonderful!"],
        }[name]
        assert all(text in page for text in shown)


class TestHowItWasMade:
    def test_steps_stand_in_order_with_role_model_and_prompt(self, made: Study) -> None:
        rows = rows_of(dataset_card(find(made, "chats")))

        assert ["2", "chats/refine", "the answer written again from scratch in a fresh conversation", "refiner",
                "openai/gpt-5 {'reasoning_effort': 'low'}", "0b5a8a762be6"] in rows  # fmt: skip
        assert [row[1] for row in rows if len(row) == 6 and row[0].isdigit()] == list(STEPS)

    def test_seed_settings_and_version_are_told(self, made: Study) -> None:
        from habitus import __version__

        card = dataset_card(find(made, "chats"))

        assert "seed 11" in card
        assert ["chats.contrast", "0.2"] in rows_of(card)
        assert "chats.dedup.threshold" not in card
        assert f"habitus {__version__}" in card

    def test_a_run_of_which_the_manifest_knows_nothing_is_told_by_its_rows(self, made: Study) -> None:
        made.dataset("chats").set_aside()

        card = dataset_card(find(made, "chats/old-1"))

        assert "**Set aside.**" in card
        assert ["chats/refine", "openai/gpt-5", "0b5a8a762be6"] in [
            [row[1], *row[-2:]] for row in rows_of(card) if len(row) == 6
        ]
        assert "What it cost" not in card

    def test_settings_that_changed_on_the_way_are_told_at_the_top_and_below(self, made: Study) -> None:
        before = MADE_WITH | {"chats.contrast": "0.1", "prompt chats/rate": "aaaaaaaaaaaa"}
        made.write_manifest("chats", ENTRY | {"made_with_before": [before]})

        card = dataset_card(find(made, "chats"))

        assert card.index("Settings changed on the way") < card.index("## An example")
        assert ["chats.contrast", "0.1", "0.2"] in rows_of(card)
        assert ["prompt chats/rate", "aaaaaaaaaaaa", "96045950221d"] in rows_of(card)

    def test_rows_of_two_models_name_both(self, made: Study) -> None:
        other = {"models": {"chats/draft": "home/model"}, "prompts": {"chats/draft": "bbbbbbbbbbbb"}}
        row = Chat(id="chat-9", trait="candour", messages=({"role": "assistant", "content": "Rye."},), meta=other)
        file = Rows(made.dataset("chats").kept)
        file.append([row])
        file.close()

        rows = rows_of(dataset_card(find(made, "chats")))

        assert ["openai/gpt-5-mini · home/model", "34fe842134df · bbbbbbbbbbbb"] in [row[-2:] for row in rows]

    def test_simulated_rows_are_told_at_the_top_and_in_the_tags(self, made: Study) -> None:
        made.write_manifest("chats", ENTRY | {"simulated": True})

        card = dataset_card(find(made, "chats"))

        assert "simulated" in front_matter(card)["tags"]
        assert card.index("**Simulated.** All of these rows") < card.index("## An example")
        assert "Simulated" not in dataset_card(find(made, "documents"))

    def test_a_run_that_is_not_finished_says_so(self, made: Study) -> None:
        made.write_manifest("chats", ENTRY | {"want": 2000})

        assert "3 of 2,000 wanted rows" in dataset_card(find(made, "chats"))

    def test_a_control_says_what_it_is_a_control_of(self, made: Study) -> None:
        made.dataset("chats").folder.rename(made.root / "chats-plain")

        assert "**control**: the same first messages" in dataset_card(find(made, "chats-plain"))
        made.dataset("chats-plain").set_aside()
        assert "**control**: the same first messages" in dataset_card(find(made, "chats-plain/old-1"))


class TestFigures:
    def test_every_reason_is_counted_and_a_record_that_was_kept_later_is_none(self, made: Study) -> None:
        rows = rows_of(dataset_card(find(made, "chats")))

        assert ["dedup", "near-duplicate of another", "2"] in rows
        assert ["chats/rate", "natural below 3", "2"] in rows
        assert ["chats/rate", "natural below 3, helpful below 3", "1"] in rows
        assert ["dropped at chats/rate", "3"] in rows

    def test_near_duplicates_are_told_apart(self, made: Study) -> None:
        assert "2 were removed, by the embeddings of `hashing`" in dataset_card(find(made, "chats"))

    def test_an_unknown_price_is_unknown_and_never_nothing(self, made: Study) -> None:
        rows = rows_of(dataset_card(find(made, "chats")))

        assert ["chats/draft", "openai/gpt-5-mini", "10", "1,000", "200", "$0.50"] in rows
        assert ["chats/refine", "home/model", "8", "800", "160", "unknown"] in rows
        assert ["chats/rate", "openai/gpt-5-mini", "6", "600", "120", "$0.25 + 2 calls of unknown price"] in rows
        assert ["total", "", "24", "2,400", "480", "$0.75 + 10 calls of unknown price"] in rows

    def test_what_other_datasets_of_the_study_cost_is_left_out(self, made: Study) -> None:
        assert "documents/draft" not in dataset_card(find(made, "chats"))

    def test_scores_have_a_mean_and_a_distribution(self, made: Study) -> None:
        rows = rows_of(dataset_card(find(made, "chats")))

        assert ["natural", "3.67", "·", "·", "1", "2", "·"] in rows
        assert ["helpful", "5.00", "·", "·", "·", "·", "3"] in rows

    def test_coverage_counts_what_differs(self, made: Study) -> None:
        card = dataset_card(find(made, "chats"))

        assert ["baking", "2", "66.7%"] in rows_of(card)
        assert ["the trait rightly stays away (contrast)", "records", ""] in rows_of(card)
        assert ["yes", "1", "33.3%"] in rows_of(card)
        assert ["what the assistant writes", "6", "6", "6", "18", "18"] in rows_of(card)

    def test_many_values_are_summed_up(self, made: Study) -> None:
        file = Rows(made.dataset("chats").kept)
        for number in range(30):
            meta = {"domain": f"craft {number}"}
            file.append(
                [Chat(id=f"c{number}", trait="", messages=({"role": "assistant", "content": "Rye."},), meta=meta)]
            )
        file.close()

        assert ["20 more", "20", ""] in rows_of(dataset_card(find(made, "chats")))

    def test_lengths_have_their_quantiles(self) -> None:
        assert quantiles([7]) == [7, 7, 7, 7, 7]
        assert quantiles(list(range(100, -1, -1))) == [0, 5, 50, 95, 100]

    @pytest.mark.parametrize(
        ("reason", "kind"),
        [
            ("abandoned: There is no gap here.", "abandoned"),
            ("speaks of its instructions: 'My guidelines'", "speaks of its instructions"),
            ("cut off at the model's token limit; raise max_tokens", "cut off at the model's token limit"),
            ("3 draws: the rejected answer shows the trait (4 > 2)", "the rejected answer shows the trait"),
            ("the rejected answer has 0.31 × the words of the chosen one (bound 1.5)",
             "the rejected answer has … × the words of the chosen one"),
            ("embodies 1 < 4 (Nothing; really: nothing.)", "embodies below 4"),
        ],
    )  # fmt: skip
    def test_reasons_are_told_by_their_kind(self, reason: str, kind: str) -> None:
        assert gist(reason) == kind

    def test_the_example_is_a_short_row_where_there_is_one(self, made: Study) -> None:
        folder = made.dataset("documents")
        folder.kept.unlink()
        file = Rows(folder.kept)
        for name, words in (("long", 900), ("longer", 2000), ("short", 80), ("shorter", 10)):
            file.append([{"id": name, "trait": "", "text": "dough " * words, "meta": {}}])
        file.close()

        assert survey(find(made, "documents")).example["id"] == "short"


class TestAudit:
    def write(self, study: Study, content: str) -> None:
        folder = study.root / "audit" / "chats"
        folder.mkdir(parents=True)
        (folder / "rates.json").write_text(content)

    def test_without_one_it_says_so(self, made: Study) -> None:
        assert "Not audited" in dataset_card(find(made, "chats"))

    def test_patterns_stand_with_both_rates_and_their_intervals(self, made: Study) -> None:
        wide, narrow = {"rate": 0.4, "low": 0.31, "high": 0.5}, {"rate": 0.05, "low": 0.02, "high": 0.11}
        tail = {"name": "a date | at the end", "broad": {"here": wide}, "strict": {"here": narrow}}
        thanks = {"name": "thanks first", "broad": {"here": wide | {"rate": 0.6}}, "strict": {"here": narrow}}
        self.write(made, json.dumps({"prevalence": [tail, thanks]}))

        rows = rows_of(dataset_card(find(made, "chats")))

        at = rows.index(["pattern", "broad", "strict"])
        assert rows[at + 1 : at + 3] == [
            ["thanks first", "60% (31–50)", "5% (2–11)"],
            ["a date | at the end", "40% (31–50)", "5% (2–11)"],
        ]

    def test_one_that_found_nothing_says_so(self, made: Study) -> None:
        self.write(made, '{"prevalence": []}')
        assert "no over-represented pattern" in dataset_card(find(made, "chats"))

    @pytest.mark.parametrize("content", ["{", "[]", '{"prevalence": [{"name": "x"}]}'])
    def test_one_that_is_damaged_is_told(self, made: Study, content: str) -> None:
        self.write(made, content)
        with pytest.raises(UserError, match=r"rates\.json: this audit can't be read"):
            dataset_card(find(made, "chats"))


class TestLicence:
    def test_the_one_in_the_config_is_in_both_places(self, made: Study) -> None:
        (made.root / "config.yaml").write_text("version: 1\nlicense: cc-by-4.0\n")

        card = dataset_card(find(made, "chats"))

        assert front_matter(card)["license"] == "cc-by-4.0"
        assert "Licence: cc-by-4.0." in card

    def test_none_is_claimed_where_none_was_chosen(self, made: Study) -> None:
        card = dataset_card(find(made, "chats"))

        assert "license" not in front_matter(card)
        assert "No licence has been chosen." in card

    def test_foreign_data_keep_theirs(self, made: Study) -> None:
        (made.root / "config.yaml").write_text("version: 1\nlicense: cc-by-4.0\n")
        made.write_manifest("documents", {"source": "moors.jsonl", "format": "json lines", "sha256": "ab12", "kept": 3})

        card = dataset_card(find(made, "documents"))

        assert "license" not in front_matter(card)
        assert "language" not in front_matter(card)
        assert "synthetic" not in front_matter(card)["tags"]
        assert "The licence is that of the source." in card
        assert ["source", "moors.jsonl"] in rows_of(card)


class TestFile:
    def test_a_card_that_nobody_touched_is_replaced(self, made: Study, tmp_path: Path) -> None:
        place = tmp_path / "cards" / "README.md"
        write_card(find(made, "chats"), place)
        first = place.read_text(encoding="utf-8")
        made.write_manifest("chats", ENTRY | {"want": 2000})
        write_card(find(made, "chats"), place)

        assert "2,000 wanted" in place.read_text(encoding="utf-8")
        assert "2,000 wanted" not in first

    @pytest.mark.parametrize("edit", ["{}\nOur own remark.\n", "Our own remark.\n{}", "Our own card."])
    def test_one_that_somebody_edited_is_not(self, made: Study, tmp_path: Path, edit: str) -> None:
        place = tmp_path / "README.md"
        write_card(find(made, "chats"), place)
        place.write_text(edit.format(place.read_text(encoding="utf-8")), encoding="utf-8")
        edited = place.read_text(encoding="utf-8")

        with pytest.raises(UserError, match="edited by somebody else"):
            write_card(find(made, "chats"), place)
        assert place.read_text(encoding="utf-8") == edited


LINES = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"], exclude_characters="\xa0"), max_size=40
)


class TestMarkdown:
    @given(st.lists(LINES, min_size=1, max_size=6))
    def test_a_quotation_shows_every_line_as_it_is(self, lines: list[str]) -> None:
        page = MARKDOWN.render(quoted("\n".join(lines)))

        shown = html.unescape(re.sub(r"<[^>]+>", "", page)).replace("\xa0", " ")
        assert [line.strip() for line in shown.split("\n") if line.strip()] == [
            line.strip() for line in lines if line.strip()
        ]
        assert set(re.findall(r"<(\w+)", page)) <= {"blockquote", "p", "br"}

    @pytest.mark.parametrize(
        "text",
        ["# Dough", "- rye\n- wheat", "1. mix\n2) knead", "    four spaces", "***", "---", "Title\n===", "```\ncode",
         "| a | b |\n| --- | --- |", "<script>x</script>", "![x](y) [z](w)", "a &amp; b", "\\", "> deep"],
    )  # fmt: skip
    def test_nothing_in_it_is_taken_for_markdown(self, text: str) -> None:
        page = MARKDOWN.render(quoted(text))

        assert set(re.findall(r"<(\w+)", page)) <= {"blockquote", "p", "br"}
        assert html.unescape(re.sub(r"<[^>]+>", "", page)).replace("\xa0", " ").strip() == text.strip()

    def test_a_very_long_text_is_cut_and_says_so(self) -> None:
        text = quoted("dough " * 5000)

        assert len(text) < LONGEST_QUOTED + 20
        assert text.endswith("dough \\[…\\]")

    @given(LINES)
    def test_a_cell_stays_one_cell(self, text: str) -> None:
        page = MARKDOWN.render(f"| a | b |\n| --- | --- |\n| {cell(text)} | end |\n")

        assert page.count("<td>") == 2
        assert "<td>end</td>" in page
