from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from habitus.errors import UserError
from habitus.traits.document import TraitsDocument, read_traits
from habitus.traits.sentences import chunks, markdown, reasons, sentences, tokens

SPEC = Path(__file__).parents[3] / "shared" / "data" / "traits" / "openai_model_spec.md"
EXAMPLE = Path(__file__).parents[2] / "src" / "habitus" / "traits" / "example.md"

NESTED = """\
---
title: not read
author: Ruth
---
Written for the harbour office.

# How the harbour pilot answers

It speaks with captains at night.

## With captains {#captains}

What the pilot says to a captain is acted on within seconds. It therefore keeps to what it can see, to what the
instruments say and to what it was told, and it keeps these three apart in every sentence that it speaks to the bridge.

### Candour {#candour authority=root}

The pilot names the danger first, because a captain has ten seconds. It does not soften a depth.

**Example**: fog

~~~xml
<user>
# Can we pass?
</user>
~~~

### 2. Calm

A short preface.

#### Why it matters

Fear travels over the radio.

## With the office

### Candour

The pilot reports its own errors to the office on the same day, so that the next watch knows.

## When traits pull against each other

Danger before courtesy.

### On the radio

One voice at a time.

## Glossary

Watch: four hours.
"""


def written(folder: Path, text: str | bytes, name: str = "traits.md") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(folder: Path, text: str | bytes, **options: int) -> TraitsDocument:
    return read_traits(written(folder, text), **options)


def everything(document: TraitsDocument) -> str:
    of_traits = ("\n".join([trait.name, *trait.section, trait.text]) for trait in document.traits)
    return "\n".join([document.title, document.preamble, document.context, *of_traits])


class TestTheShapeOfADocument:
    def test_ten_flat_bullets_are_ten_traits(self, tmp_path: Path) -> None:
        virtues = ["candid", "calm", "patient", "curious", "fair", "brave", "modest", "kind", "exact", "loyal"]
        bullets = "\n".join(
            f"- The pilot is {virtue} with each captain on the river at all hours." for virtue in virtues
        )
        document = read(tmp_path, f"# The pilot\n\nWhat it is like:\n\n{bullets}\n\nSafety wins over manners.\n")
        assert [trait.id for trait in document.traits] == [
            f"the-pilot-is-{virtue}-with-each-captain-on" for virtue in virtues
        ]
        assert document.traits[3].text == "The pilot is curious with each captain on the river at all hours."
        assert document.traits[3].line == 8
        assert document.title == "The pilot"
        assert document.preamble == "What it is like:"
        assert document.context == "Safety wins over manners."

    @pytest.mark.parametrize("marker", ["-", "*", "+", "1.", "3)"])
    def test_any_list_marker_will_do(self, tmp_path: Path, marker: str) -> None:
        document = read(tmp_path, f"{marker} **Candour.** Says it early.\n{marker} Calm: holds still\n  under fire.\n")
        assert [(trait.id, trait.text) for trait in document.traits] == [
            ("candour", "**Candour.** Says it early."),
            ("calm", "Calm: holds still\nunder fire."),
        ]

    @pytest.mark.parametrize(
        ("bullet", "name"),
        [
            ("**Candour.** Says it early.", "Candour"),
            ("**Candour**: says it early.", "Candour"),
            ("__Quiet courage__ \u2014 says it early.", "Quiet courage"),
            ("**Candour**\n  Says it early.", "Candour"),
            ("**Never** lie to a captain.", "Never lie to a captain"),
            ("Candour: says it early.", "Candour"),
            ("Candour - says it early.", "Candour"),
            ("Says it early, and says it once.", "Says it early"),
            (
                "Well, it says `depth` before [speed](x.md) whenever both are known.",
                "Well, it says depth before speed whenever both",
            ),
            ("Candid", "Candid"),
        ],
    )
    def test_a_bullet_is_named_by_its_lead_or_its_first_words(self, tmp_path: Path, bullet: str, name: str) -> None:
        assert read(tmp_path, f"- {bullet}\n- Calm: holds still.\n").traits[0].name == name

    def test_a_heading_with_prose_is_one_trait_with_its_bullets(self, tmp_path: Path) -> None:
        body = "The pilot says it early:\n\n- the depth\n- the current"
        document = read(tmp_path, f"# Pilot\n\n## Candour\n\n{body}\n\n## Calm\n\nIt holds still.\n")
        assert [trait.name for trait in document.traits] == ["Candour", "Calm"]
        assert document.traits[0].text == body

    def test_plain_bullets_below_a_heading_describe_the_heading(self, tmp_path: Path) -> None:
        document = read(tmp_path, "## Candour\n\n- says it early\n- says it once\n\n## Calm\n\n- holds still\n")
        assert [trait.name for trait in document.traits] == ["Candour", "Calm"]

    def test_bullets_that_name_and_describe_traits_are_traits_of_their_section(self, tmp_path: Path) -> None:
        candour = "- **Candour.** The pilot names the danger first, because a captain has only ten seconds."
        calm = "- **Calm.** The pilot speaks at the same pace when the water is over the rail."
        document = read(
            tmp_path, f"## On the bridge\n\n{candour}\n{calm}\n\n## Exactness\n\nIt gives depths in metres.\n"
        )
        assert [(trait.name, trait.section) for trait in document.traits] == [
            ("Candour", ("On the bridge",)),
            ("Calm", ("On the bridge",)),
            ("Exactness", ()),
        ]

    def test_bullets_that_only_explain_a_trait_are_not_traits(self, tmp_path: Path) -> None:
        why = "- **Why:** a captain acts within ten seconds on what the pilot says to the bridge."
        example_ = "- **Example:** it names the sandbank before it has said good evening to anyone aboard."
        document = read(tmp_path, f"## Candour\n\n{why}\n{example_}\n\n## Calm\n\nIt holds still.\n")
        assert [trait.name for trait in document.traits] == ["Candour", "Calm"]
        assert len(document.traits[0].reasons) == 1

    def test_a_section_called_traits_gathers_its_bullets(self, tmp_path: Path) -> None:
        text = "# Pilot\n\n## Our values\n\nWe ask for two:\n\n- Candour\n- Calm\n\n## Exceptions\n\nIn drills.\n"
        document = read(tmp_path, text)
        assert [trait.name for trait in document.traits] == ["Candour", "Calm"]
        assert document.preamble == "We ask for two:"
        assert document.context == "## Exceptions\n\nIn drills."

    def test_nested_sections_give_their_leaves(self, tmp_path: Path) -> None:
        document = read(tmp_path, NESTED)
        assert [(trait.id, trait.section) for trait in document.traits] == [
            ("with-captains", ()),
            ("with-captains-candour", ("With captains",)),
            ("calm", ("With captains",)),
            ("with-the-office-candour", ("With the office",)),
        ]
        assert document.traits[1].name == "Candour"
        assert "# Can we pass?" in document.traits[1].text
        assert [trait.line for trait in document.traits] == [11, 16, 28, 38]

    def test_what_explains_a_trait_stays_with_it(self, tmp_path: Path) -> None:
        calm = read(tmp_path, NESTED).trait("calm")
        assert calm.text == "A short preface.\n\n#### Why it matters\n\nFear travels over the radio."
        assert calm.reasons == ("Fear travels over the radio.",)

    def test_trade_offs_are_context_and_the_glossary_is_preamble(self, tmp_path: Path) -> None:
        document = read(tmp_path, NESTED)
        assert document.context.startswith("## When traits pull against each other\n\nDanger before courtesy.")
        assert document.context.endswith("One voice at a time.")
        assert document.preamble.startswith("Written for the harbour office.\n\nIt speaks with captains at night.")
        assert document.preamble.endswith("## Glossary\n\nWatch: four hours.")
        assert "Ruth" not in everything(document)

    @pytest.mark.parametrize(
        "heading",
        [
            "Trade-offs",
            "Priorities and tradeoffs",
            "Order of priority",
            "What comes first",
            "When not to",
            "When the traits conflict",
            "Known limits",
            "Exceptions",
            "Scope of this document",
            "1. Conflicts between traits",
            "How these values interact",
        ],
    )
    def test_these_headings_hold_for_all_traits(self, tmp_path: Path, heading: str) -> None:
        document = read(
            tmp_path, f"# Pilot\n\n## Candour\n\nSays it.\n\n## Calm\n\nHolds.\n\n## {heading}\n\nDrills.\n"
        )
        assert len(document.traits) == 2
        assert "Drills." in document.context

    @pytest.mark.parametrize(
        "heading",
        [
            "Knowing its limits",
            "Act within an agreed-upon scope of autonomy",
            "Respecting length limits",
            "Prioritize safety for teens",
            "Conflicts of interest",
            "Exceptional patience",
            "When in doubt, ask",
        ],
    )
    def test_these_headings_are_traits_all_the_same(self, tmp_path: Path, heading: str) -> None:
        document = read(tmp_path, f"# Pilot\n\n## Candour\n\nSays it.\n\n## {heading}\n\nDrills.\n")
        assert document.traits[1].name == heading

    def test_a_lone_heading_with_prose_is_a_trait(self, tmp_path: Path) -> None:
        document = read(tmp_path, "# Candour\n\nThe pilot says it early.\n\n## When not to\n\nIn drills.\n")
        assert [trait.id for trait in document.traits] == ["candour"]
        assert "In drills." in document.traits[0].text

    def test_a_long_list_beats_one_stray_heading(self, tmp_path: Path) -> None:
        document = read(
            tmp_path, "# Pilot\n\n- Candid\n- Calm\n- Exact\n\n## How we chose them\n\nWe asked captains.\n"
        )
        assert [trait.id for trait in document.traits] == ["candid", "calm", "exact"]
        assert "We asked captains." in document.context

    def test_setext_headings_count_but_a_rule_under_a_paragraph_does_not(self, tmp_path: Path) -> None:
        prose = "The pilot says it early, and it says it in words that a captain can act on in fog."
        document = read(tmp_path, f"Pilot\n=====\n\nCandour\n-------\n\n{prose}\n---\n\nCalm\n----\n\nHolds still.\n")
        assert [trait.name for trait in document.traits] == ["Candour", "Calm"]
        assert document.traits[0].text.startswith(prose)

    @pytest.mark.parametrize(
        ("heading", "name"),
        [
            ("Candour {#candour authority=root}", "Candour"),
            ("**Candour**", "Candour"),
            ("3. Candour:", "Candour"),
            ("Trait 2: Candour", "Candour"),
            ("[Candour](https://harbour.example) at `sea` ##", "Candour at sea"),
            ("Value people", "Value people"),
            ("3 depths it always gives", "3 depths it always gives"),
            ("***", "***"),
        ],
    )
    def test_a_heading_is_named_as_its_reader_sees_it(self, tmp_path: Path, heading: str, name: str) -> None:
        assert read(tmp_path, f"# {heading}\n\nSays it.\n\n# Calm\n\nHolds still.\n").traits[0].name == name

    def test_windows_line_ends_and_a_byte_order_mark_change_nothing_but_the_digest(self, tmp_path: Path) -> None:
        plain = read(tmp_path, NESTED)
        windows = read(tmp_path, b"\xef\xbb\xbf" + NESTED.replace("\n", "\r\n").encode())
        assert windows.traits == plain.traits
        assert windows.context == plain.context
        assert windows.digest != plain.digest == hashlib.sha256(NESTED.encode()).hexdigest()[:12]

    def test_without_a_heading_over_all_the_file_names_the_document(self, tmp_path: Path) -> None:
        path = written(tmp_path, "# Candour\n\nSays it.\n\n# Calm\n\nHolds still.\n", "harbour_pilot.md")
        assert read_traits(path).title == "harbour pilot"


class TestIds:
    def test_they_survive_reordering_and_edits_elsewhere(self, tmp_path: Path) -> None:
        parts = ["## Candour\n\nSays it.\n", "## Don\u2019t flatter\n\nIt does not.\n", "## 3. Calm\n\nHolds still.\n"]
        before = read(tmp_path, "\n".join(parts))
        edited = [parts[2].replace("3.", "1."), "## Exactness\n\nIn metres.\n", parts[1], parts[0] + "\nAnd again.\n"]
        after = read(tmp_path, "\n".join(edited))
        assert {trait.id for trait in before.traits} == {"candour", "dont-flatter", "calm"}
        assert {trait.id for trait in before.traits} < {trait.id for trait in after.traits}

    def test_namesakes_take_their_parents_along_in_any_order(self, tmp_path: Path) -> None:
        sea, land = "# At sea\n\n## Candour\n\nEarly.\n", "# On land\n\n## Candour\n\nOnce.\n"
        for text in (sea + "\n" + land, land + "\n" + sea):
            assert {trait.id: trait.text for trait in read(tmp_path, text).traits} == {
                "at-sea-candour": "Early.",
                "on-land-candour": "Once.",
            }

    def test_namesakes_under_one_heading_are_told_apart_by_what_they_say(self, tmp_path: Path) -> None:
        one, two = "## Candour\n\nEarly.\n", "## Candour\n\nOnce.\n"
        there = {trait.text: trait.id for trait in read(tmp_path, one + "\n" + two).traits}
        back = {trait.text: trait.id for trait in read(tmp_path, two + "\n" + one).traits}
        assert there == back
        assert all(re.fullmatch("candour-[0-9a-f]{8}", trait_id) for trait_id in there.values())

    def test_copies_are_numbered(self, tmp_path: Path) -> None:
        ids = [trait.id for trait in read(tmp_path, "## Candour\n\nEarly.\n\n" * 3).traits]
        assert len(set(ids)) == 3
        assert [trait_id.removeprefix(ids[0]) for trait_id in ids] == ["", "-2", "-3"]

    def test_names_in_any_script_have_ids(self, tmp_path: Path) -> None:
        document = read(tmp_path, "## 正直さ\n\n早く言う。\n\n## Честность\n\nГоворит.\n\n## !?\n\nSays it.\n")  # noqa: RUF001
        assert [trait.id for trait in document.traits] == ["正直さ", "честность", "trait"]

    def test_long_names_are_cut_at_a_word(self, tmp_path: Path) -> None:
        document = read(tmp_path, "# Support the different needs of captains and of the many mates\n\nSays it.\n")
        assert document.traits[0].id == "support-the-different-needs-of-captains"

    def test_an_unknown_id_is_answered_with_the_nearest(self, tmp_path: Path) -> None:
        document = read(tmp_path, NESTED)
        assert document.trait("calm").name == "Calm"
        with pytest.raises(UserError, match=r"no trait 'clam'.*with-captains.*Did you mean 'calm'\?"):
            document.trait("clam")


class TestWhatCannotBeRead:
    @pytest.mark.parametrize(
        ("data", "what", "todo"),
        [
            (b"", "the file is empty", "init"),
            (b" \r\n\t\n", "the file is empty", "init"),
            (b"\xef\xbb\xbf", "the file is empty", "init"),
            (b"# Pilot\n\x00\x01", "byte 8 is NUL", "Markdown"),
            ("# Pilot".encode("utf-16"), "in UTF-16", "UTF-8"),
            (b"- Calm\n- Z\xe4rtlich\n", r"traits\.md:2: byte 10 \(0xe4\) is not UTF-8", "UTF-8"),
            (b"The pilot says it early.\n", "no traits found", "heading"),
            (b"## Glossary\n\nWatch: four hours.\n", "no traits found", "bullet"),
            (b"---\ntitle: Pilot\n---\n", "no traits found", "heading"),
            (b"- Calm. " + b"a " * 2_600_000, "5.2 MB", "split"),
        ],
    )
    def test_bad_files_get_one_clear_message(self, tmp_path: Path, data: bytes, what: str, todo: str) -> None:
        with pytest.raises(UserError, match=what) as caught:
            read(tmp_path, data)
        assert "traits.md" in caught.value.where
        assert todo in caught.value.todo

    def test_a_missing_file_names_its_neighbour(self, tmp_path: Path) -> None:
        written(tmp_path, "- Calm", "traits.md")
        with pytest.raises(UserError, match=r"no such file.*Did you mean 'traits\.md'"):
            read_traits(tmp_path / "trait.md")

    def test_a_folder_names_what_is_in_it(self, tmp_path: Path) -> None:
        written(tmp_path, "- Calm", "pilot.md")
        with pytest.raises(UserError, match=r"this is a folder.*such as pilot\.md"):
            read_traits(tmp_path)

    def test_a_device_is_no_document(self) -> None:
        with pytest.raises(UserError, match="no regular file"):
            read_traits(Path("/dev/zero"))

    def test_a_name_no_file_can_have_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="cannot be read"):
            read_traits(tmp_path / ("calm" * 100))


class TestSentences:
    @pytest.mark.parametrize(
        "parts",
        [
            ["Dr. Osei asked St. Mary's, e.g. the ward.", "It answered."],
            ["The U.S. Coast Guard called at 5 p.m. on Friday.", "No. 5 was first, i.e. before No. 6."],
            ["It drew 3.5 metres.", "The chart said 4.", "Who was right?", "Both!"],
            ['"Stop. Look," said the pilot.', '"Why?" he asked.', "Then he saw."],
            ["He left (it was late. Too late) at once.", "They waited."],
            ["Run `a. B` now.", "Then rest."],
            ["Buoys, lights, etc. are named.", "Depth, speed, etc.", "The rest waits."],
            ["J. R. Okafor wrote it.", "\u201cWell\u2026 Maybe.\u201d", "So it stood."],
            ["**Candour.**", "It speaks."],
            ["正直です。", "早く言う。"],
            ["Says:", "\n- the depth.", "And the tide", "\n- the current", "\n\n1. the light"],
        ],
    )
    def test_they_end_where_a_reader_would_end_them(self, parts: list[str]) -> None:
        assert sentences(" ".join(parts)) == [part.strip() for part in parts]

    def test_wrapped_lines_are_one_sentence(self) -> None:
        assert sentences("The pilot says\nit early.\n\nIt waits") == ["The pilot says it early.", "It waits"]

    @pytest.mark.parametrize(
        "sentence",
        [
            "It warns, because fog hides the bank.",
            "It warns so that they can turn.",
            "Since captains act at once, it is exact.",
            "This matters to the crew.",
            "The reason is plain.",
            "That is why it speaks first.",
            "It is brief, so the captain can act.",
            "To avoid a collision, it speaks first.",
        ],
    )
    def test_a_reason_is_found(self, sentence: str) -> None:
        assert reasons(f"It watches. {sentence} It rests.") == (sentence,)

    @pytest.mark.parametrize(
        "sentence",
        [
            "It has steered since 1990.",
            "No matter the hour, it answers.",
            "It advises on legal matters.",
            "It can reason about tides.",
            "It explains so much.",
            "**Example**: a mate asks for the reason why it matters",
        ],
    )
    def test_no_reason_is_read_into(self, sentence: str) -> None:
        assert reasons(sentence) == ()

    def test_all_under_a_why_is_reason_and_nothing_in_code_is(self) -> None:
        text = "It warns.\n\n**Why:** Fog. Sand.\n\n```\nbecause code\n```\n\n!!! note\n    Warn because it is dark.\n"
        assert reasons(text) == ("**Why:** Fog.", "Sand.", "Warn because it is dark.")


class TestChunks:
    def test_a_short_text_is_one_chunk(self) -> None:
        assert chunks("It warns.", 1500) == ("It warns.",)

    def test_they_are_cut_between_paragraphs_and_even(self) -> None:
        paragraphs = [f"Watch {number}. " + "It waits for the tide. " * 6 for number in range(10)]
        pieces = chunks("\n\n".join(paragraphs), 150)
        assert len(pieces) == 3
        assert max(map(tokens, pieces)) <= 150
        assert all(piece.startswith("Watch ") for piece in pieces)
        assert min(map(tokens, pieces)) > 75

    def test_a_long_paragraph_is_cut_between_sentences_and_a_long_sentence_never(self) -> None:
        long = "It waits " + "and waits " * 30 + "for the tide."
        pieces = chunks(f"It warns. It rests. {long} It turns. It goes.", 10)
        assert pieces == ("It warns. It rests.", long, "It turns. It goes.")

    def test_a_caption_stays_with_what_it_announces(self) -> None:
        talk = "~~~\nPilot: slow down.\n\nCaptain: slowing.\n~~~"
        text = f"{'It waits for the tide. ' * 8}\n\n**Example**: fog\n\n{talk}"
        assert chunks(text, 60)[1] == f"**Example**: fog\n\n{talk}"

    def test_a_long_list_is_cut_between_its_items(self) -> None:
        items = [f"- It names light {number}. It names its colour." for number in range(20)]
        pieces = chunks("\n".join(items), 60)
        assert all(piece.startswith("- It names light") for piece in pieces)

    @settings(deadline=None, derandomize=True, max_examples=150)
    @given(text=st.text(alphabet="aB1.!? \n-#`~(\"'>*:\u201c\u3002é", max_size=400), budget=st.integers(1, 40))
    def test_they_hold_every_word_once_and_keep_to_the_budget(self, text: str, budget: int) -> None:
        text = text.strip("\n").rstrip()
        pieces = chunks(text, budget)
        assert [word for piece in pieces for word in piece.split()] == text.split() or "\u3002" in text
        assert "".join("".join(pieces).split()) == "".join(text.split())
        for piece in pieces:
            assert tokens(piece) <= budget or len(sentences(piece)) <= 1


LINES = st.sampled_from(
    [
        "# Pilot",
        "## Candour {#candour}",
        "### Calm",
        "## Candour",
        "## When not to",
        "## Our values",
        "### Why",
        "#### Glossary",
        "## Overview",
        "#",
        "Depth\n---",
        "Tide\n===",
        "The pilot waits for the tide. It rests because fog is near.",
        "It names each light on the river, and each bank that the captain cannot see from the bridge at night. " * 3,
        "- Candour: it speaks early",
        "- **Calm.** It holds still, because a captain hears fear in a voice over the radio at once.",
        "- **Watch.** It looks where nobody looks, since the danger that is known is seldom the one that kills.",
        "  - nested light",
        "    and more of it",
        "1. first buoy",
        "* * *",
        "---",
        "> quoted\n> captain",
        "```\n# in code",
        "~~~",
        "<!-- note",
        "-->",
        "\tdeep",
        "| a | b |",
        "!!! meta",
        "[x]: y",
        "",
        "",
    ]
)


class TestNothingIsLost:
    @settings(deadline=None, derandomize=True, max_examples=300)
    @given(lines=st.lists(st.one_of(LINES, st.text(max_size=30)), max_size=25))
    @example(lines=["# Pilot", "Prose.", "## When not to", "Drills."])
    @example(lines=["## Overview", "### Glossary", "x", "## Our values", "- a", "", "b", "", "- c"])
    def test_every_word_of_any_document_lands_somewhere(
        self, tmp_path_factory: pytest.TempPathFactory, lines: list[str]
    ) -> None:
        text = "\n".join(lines).replace("\0", "").encode("utf-8", "ignore").decode()
        try:
            document = read(tmp_path_factory.getbasetemp(), text)
        except UserError:
            return
        there = Counter(re.findall(r"[^\W\d_]+", everything(document)))
        wanted = Counter(re.findall(r"[^\W\d_]+", re.sub(r"\{[:#.][^{}]*\}", "", text)))
        assert not wanted - there
        assert len({trait.id for trait in document.traits}) == len(document.traits)
        assert all(trait.text and trait.name and trait.chunks for trait in document.traits)

    @pytest.mark.parametrize(
        "text",
        [
            "# T\n\n## x\n\n" + "> " * 20_000 + "a",
            "- " * 20_000 + "a",
            "# T\n\n## x\n\n" + "a " * 20_000,
            "# T\n\n## x\n\n" + "A. b " * 8_000,
            "# T\n\n## x\n\n" + '"(`[' * 10_000,
            "# T\n\n## x" + "_" * 40_000 + "x",
            "- [" * 10_000,
            "[a]: b\n" * 6_000 + "# x\n\ny",
            "## a\n\nb\n\n" * 4_000,
            "- **A b.** c\n" * 3_000,
        ],
        ids=lambda text: text[:18],
    )
    def test_nothing_hangs_the_parser(self, tmp_path: Path, text: str) -> None:
        document = read(tmp_path, text, budget=50)
        assert len({trait.id for trait in document.traits}) == len(document.traits) >= 1

    @pytest.mark.data
    @pytest.mark.skipif(not SPEC.exists(), reason="../shared/data/traits is not here")
    def test_every_paragraph_of_a_real_specification_lands_in_one_place(self) -> None:
        document = read_traits(SPEC)
        lines = SPEC.read_text(encoding="utf-8").split("\n")
        homes = [document.preamble, document.context, *(trait.text for trait in document.traits)]
        blocks = [token for token in markdown("\n".join(lines)) if token.map and token.level == 0]
        told = [token for token in blocks if token.type not in ("heading_open", "hr")]
        assert len(told) > 600
        for token in told:
            block = "\n".join(lines[slice(*token.map)]).strip() if token.map else ""
            if token.type.endswith("_list_open"):
                block = block.split("\n")[0].split(" ", 1)[1]
            times = sum(block in home for home in homes)
            assert times == 1 or (times > 1 and len(block) < 80), block

    @pytest.mark.data
    @pytest.mark.skipif(not SPEC.exists(), reason="../shared/data/traits is not here")
    def test_a_real_specification_gives_its_leaves(self) -> None:
        document = read_traits(SPEC)
        assert document.title == "openai model spec"
        assert 60 <= len(document.traits) <= 90
        lies = document.trait("do-not-lie")
        assert lies.section == ("Seek the truth together", "Be honest and transparent")
        assert len(lies.chunks) == 2
        assert not any(trait.name in ("functions", "[...] imports") for trait in document.traits)
        assert max(tokens(chunk) for trait in document.traits for chunk in trait.chunks) <= 1500
        for trait in document.traits:
            assert " ".join(trait.chunks).split() == trait.text.split()


def test_the_example_that_ships_is_read_whole() -> None:
    document = read_traits(EXAMPLE)
    assert document.title == "Traits of an adviser in hard decisions"
    assert 8 <= len(document.traits) <= 10
    assert all(trait.reasons and len(trait.chunks) == 1 for trait in document.traits)
    assert document.context.count("\n\n## ") == 2
    assert 1400 <= len(EXAMPLE.read_text(encoding="utf-8").split()) <= 1900
