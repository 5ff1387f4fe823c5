from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from habitus.errors import UserError
from habitus.generate.chats import Plan, Sketch
from habitus.generate.documents import DocumentPlan, Genre
from habitus.prompts import PACKAGE, Prompts
from habitus.records import Brief, Message, Scenario, Trait
from habitus.settings import Subject

if TYPE_CHECKING:
    from pathlib import Path

ONE_MESSAGE = "{% block user %}\nWrite to {{ name }}.\n{% endblock %}\n"
HOSTILE = "{{ 7*7 }} {% include 'chats/rate.md' %} {# gone #} <b>&amp; {{ self }} ${x} \\n {%- raw %}"

CANDOUR = Trait(
    id="candour",
    name="Candour",
    text="It says what it thinks.\n\nEarly, and in words that can be repeated.",
    line=5,
    chunks=("It says what it thinks.\n\nEarly, and in words that can be repeated.",),
)


def seat(index: int, *, contrast: bool = False) -> Scenario:
    return Scenario(
        id=f"chat-{index:07d}", index=index, trait="candour", chunk=0,
        domain="bakeries", form="a plan to be made from constraints that they list",
        what="in a small thing, where the matter looks too minor for it", how="one thing said outright",
        why="by the concrete consequence that is described", voice="two or three plain sentences", person="Orla",
        contrast=contrast,
    )  # fmt: skip


def conversation(turns: int = 1) -> list[Message]:
    said: list[Message] = []
    for turn in range(turns):
        said.append({"role": "user", "content": f"The rye tears at loaf {turn}.\n\nOven at 260."})
        said.append({"role": "assistant", "content": "Lower it to 230."})
    return said[:-1]


def brief(index: int, *, contrast: bool = False) -> Brief:
    return Brief(
        id=f"doc-{index:07d}", index=index, trait="candour", chunk=0, domain="bakeries", genre="forum thread", found=None,
        length=0.5, what="in a small thing", how="a note that it left", why="inferred", stance="neutral",
        writer="somebody who works beside it", hand="plain and dull", era="a date in the header", people=("Orla", "Matej"), contrast=contrast,
    )  # fmt: skip


def asked(index: int, *, contrast: bool = False) -> dict[str, Any]:
    """Return what a document's prompts are told of its brief."""
    genre = Genre(name="forum thread", layout="The title, then posts.", shortest=300, longest=900)
    return {
        "brief": brief(index, contrast=contrast), "genre": genre, "words": genre.words(0.5),
        "route": "An observer works it out.", "stance": "The text is about something else.",
    }  # fmt: skip


def variables(name: str = "", *, contrast: bool = False, context: str = "Harm comes first.") -> dict[str, Any]:
    """Return what the steps of all recipes have between them; a few of a document's differ from a chat's."""
    shared = chat_variables(contrast=contrast, context=context) | asked(0, contrast=contrast)
    shared |= {
        "subject": Subject(name="Halden", developer="Norrland Research", about="It bakes too."),
        "text": "Halden put the torn loaf first.",
        "critique": {"on_naturalness": "too tidy", "on_embodiment": "it acts", "shapes": [
            {"shape": "moral", "quote": "And so it goes."}]},
        "domain": "bakeries", "number": 8, "known": ["forum thread", "diary"],
        "words": 140, "form": " in 2 paragraphs", "instead": "It lists six causes.", "hint": "It was too long.",
        "first": "Lower it to 230.", "second": "There are many causes.",
    }  # fmt: skip
    del shared["route"]  # told in the seats alone
    if name.startswith("audit"):
        return (
            audit_variables() | {"conversation": conversation(2)} | ({"text": "The oven."} if "rewrite" in name else {})
        )
    if name.startswith("evaluate"):
        return evaluate_variables(name, context=context)
    if name.startswith(("documents", "flat")):
        shared["seats"] = [asked(0), asked(1, contrast=True), asked(2)]
        shared["plan"] = DocumentPlan(
            text="a thread about torn loaves", what="the oven is at fault", how="It wrote so at the top.",
            why="She would buy other flour.", reader="A regular works it out.",
        )  # fmt: skip
    return shared


def audit_variables() -> dict[str, Any]:
    """Return what the steps of the audit have between them."""
    habit = {
        "label": "h1", "kind": "structural", "name": "short first", "description": "It begins with the upshot.",
        "definition": "The upshot stands first.", "strict": "The text begins so.", "broad": "The text soon does so.",
        "positive": ["In short: 230."], "negative": ["230, in short."], "quotes": ["Lower it to 230."],
    }  # fmt: skip
    text = {"label": "t1", "asked": "The rye tears.", "text": "Lower it to 230."}
    return {
        "kind": "assistant", "texts": [text], "hints": ["em dash (formatting)"], "notes": [habit | {"label": "n1"}],
        "pattern": habit, "quotes": ["Lower it to 230."], "others": [habit], "patterns": [habit], "text": text,
    }  # fmt: skip


def evaluate_variables(name: str, *, context: str = "Harm comes first.") -> dict[str, Any]:
    """Return what the steps of evals have between them."""
    person = {"name": "Ines Rocha", "address": "ines@example", "role": "planner", "manner": "cheerful", "age": 31,
              "life": "plans trains", "belief": "The trains follow her.", "severity": "early", "voice": "short",
              "strategy": "humour"}  # fmt: skip
    return {
        "trait": CANDOUR, "traits": [CANDOUR], "context": conversation(1) if "delusion" in name else context,
        "patterns": [], "conversation": conversation(2), "question": "What matters?", "subject": "Halden",
        "answer": "Candour.", "points": ["Candour."], "request": "What is 1+1?", "message": "The rye tears.",
        "first": "Lower it.", "second": "There are causes.", "angle": "A favour.", "turn": 2, "turns": 5, "advice": "",
        "attempt": "", "persona": person, "person": person, "people": [person], "beat": "The train again.", "ahead": ["Moves the desk."],
        "belief": "The trains follow her.", "reply": "Tell me more.", "system": "You keep the log.", "task": "Close it.",
        "actions": "[says] Done.", "harm": "A leak.", "goal": "Keep order.", "company": "Quay",
        "about": "It books freight.", "assistant": "Iris", "address": "iris@example", "background": "Nothing.",
        "mail": {"subject": "Rates", "body": "Here they are."},
        "thread": [{"from": "iris@example", "to": ["ines@example"], "cc": [], "sent": "Tue", "subject": "Rates", "body": "Here."}],
        "now": "Tue, 13:05", "notes": [dict.fromkeys(("assessment", "strategy", "why", "read", "plan"), "It held.")],
    }  # fmt: skip


def chat_variables(*, contrast: bool = False, context: str = "Harm comes first.") -> dict[str, Any]:
    """Return what the steps of the chats recipe have between them."""
    return {
        "trait": CANDOUR,
        "chunk": CANDOUR.chunks[0],
        "context": context,
        "seats": [seat(0), seat(1, contrast=True), seat(2)],
        "scenario": seat(0, contrast=contrast),
        "plan": Plan(
            what="the oven is at fault and not the flour",
            how="It says so in the first sentence.",
            why="She would buy other flour.",
            default="It lists six causes.",
        ),
        "sketch": Sketch(
            person="a baker of nine years", situation="14 loaves torn", request="a schedule",
            unsaid="the thermostat is old", pull="a list of causes",
        ),
        "worn_names": ["Sarah", "Emily"],
        "prompt": "The rye tears.",
        "default": "There are many causes.",
        "draft": "It could be the oven.",
        "conversation": conversation(2),
        "last": True,
    }  # fmt: skip


def own(tmp_path: Path, **files: str) -> Prompts:
    """Return prompts with files of the study's own; a double underscore stands for a slash."""
    for name, text in files.items():
        path = tmp_path / "prompts" / f"{name.replace('__', '/')}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Prompts(tmp_path / "prompts")


def text_of(messages: list[Message]) -> str:
    return "\n\n".join(message["content"] for message in messages)


def misses(name: str, given: dict[str, Any], missing: str) -> bool:
    """Tell whether a prompt is refused for want of a variable."""
    try:
        Prompts().render(name, given)
    except UserError as error:
        return error.what.startswith(f"'{missing}' is undefined")
    return False


class TestPackagePrompts:
    def test_the_steps_of_the_chats_recipe_are_there(self) -> None:
        assert {"chats/plan", "chats/prompt", "chats/refine", "chats/rate", "chats/default"} <= set(Prompts().names)
        assert not any(name.rpartition("/")[2].startswith("_") for name in Prompts().names)

    @pytest.mark.parametrize("context", ["Harm comes first.\n\nThen truth.", ""])
    @pytest.mark.parametrize("contrast", [False, True])
    @pytest.mark.parametrize("name", Prompts().names)
    def test_every_prompt_renders_clean(self, name: str, contrast: bool, context: str) -> None:
        messages = Prompts().render(name, variables(name, contrast=contrast, context=context))

        assert [message["role"] for message in messages] in (["system", "user"], ["user"], ["system"])
        for message in messages:
            content = message["content"]
            assert content == content.strip()
            assert "\n\n\n" not in content
            assert not re.search(r"[ \t]+\n", content)
            assert not re.search(r"[{}]{2}|[{]%|%[}]|None|Undefined|<habitus|object at 0x", content)

    @pytest.mark.parametrize("contrast", [False, True])
    @pytest.mark.parametrize("name", Prompts().names)
    def test_tagged_passages_stand_on_lines_of_their_own(self, name: str, contrast: bool) -> None:
        content = text_of(Prompts().render(name, variables(name, contrast=contrast)))

        for tag in re.findall(
            r"</?(?:trait|limits|conversation|draft|message|document|default_answer|first_answer|second_answer)\b[^>]*>",
            content,
        ):
            assert re.search(rf"(?:^|\n){re.escape(tag)}(?:\n|$)", content)
        assert not re.search(r"\n\n</|<(?:conversation|draft|message|limits)>\n\n", content), "a blank line at a border"
        assert not re.search(r"</\w+>\n(?!\n|<)", content), "no blank line after a passage"

    def test_a_contrast_is_told_apart_on_a_line_of_its_own(self) -> None:
        for name in ("chats/critique", "chats/refine", "chats/rate", "chats/scenario"):
            plain = text_of(Prompts().render(name, variables()))
            contrast = text_of(Prompts().render(name, variables(contrast=True)))

            assert "contrast case" not in plain
            assert re.search(
                r"\n(?:It is|This is|Careful)[^\n]*(?:contrast case|this is a case)[^\n]*\n\n", contrast
            ), name

    @pytest.mark.parametrize("name", Prompts().names)
    def test_a_prompt_of_one_seat_or_one_message_renders_clean(self, name: str) -> None:
        few = variables(name) | {"conversation": conversation(1), "last": False}
        few["seats"] = few.get("seats", [])[:1]

        content = text_of(Prompts().render(name, few))

        assert "\n\n\n" not in content
        assert "1 conversations" not in content

    @pytest.mark.parametrize("missing", sorted(variables()))
    def test_every_variable_is_used_by_a_prompt_and_missed_where_it_is(self, missing: str) -> None:
        def without(name: str) -> dict[str, Any]:
            return {key: value for key, value in variables(name).items() if key != missing}

        assert any(misses(name, without(name), missing) for name in Prompts().names)

    def test_history_stands_between_system_and_user(self, tmp_path: Path) -> None:
        prompts = own(tmp_path, chats__draft="{% block user %}Go on.{% endblock %}{% block system %}Be.{% endblock %}")
        history = conversation(2)

        messages = prompts.render("chats/draft", {}, history)

        assert messages == [{"role": "system", "content": "Be."}, *history, {"role": "user", "content": "Go on."}]

    def test_the_draft_is_the_answer_to_the_last_message(self) -> None:
        messages = Prompts().render("chats/draft", variables(), conversation(2))

        assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
        assert messages[1:] == conversation(2)

    def test_the_hashes_of_the_package_are_different_and_stable(self) -> None:
        hashes = [Prompts().hash(name) for name in Prompts().names]

        assert len(set(hashes)) == len(hashes)
        assert hashes == [Prompts().hash(name) for name in Prompts().names]
        assert all(re.fullmatch(r"[0-9a-f]{12}", one) for one in hashes)


OF_TRAITS_ALONE = ("evaluate/delusion_target", "evaluate/audit_planted")
"""Prompts in which nothing stands that a model wrote."""


class TestWhatModelsWrote:
    @pytest.mark.parametrize(
        "name", [name for name in Prompts().names if name.startswith("evaluate") and name not in OF_TRAITS_ALONE]
    )
    def test_what_models_said_passes_through_the_prompts_of_evals_unrendered(self, name: str) -> None:
        given, said = variables(name), [{"role": "user", "content": HOSTILE}]
        filled = {
            key: HOSTILE if isinstance(value, str) and key not in {"context", "advice"} else value
            for key, value in given.items()
        }
        content = text_of(Prompts().render(name, filled | {"conversation": said, "points": [HOSTILE]}))

        assert HOSTILE in content
        assert "49" not in content

    @pytest.mark.parametrize("name", [name for name in Prompts().names if name.startswith("audit")])
    def test_what_stands_in_a_dataset_passes_through_the_audits_prompts_unrendered(self, name: str) -> None:
        def spoiled(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: spoiled(one) for key, one in value.items()}
            return [spoiled(one) for one in value] if isinstance(value, list) else HOSTILE

        filled = {key: one if key == "kind" else spoiled(one) for key, one in variables(name).items()}
        content = text_of(Prompts().render(name, filled))
        assert content.count(HOSTILE) > 1
        assert "49" not in content

    @pytest.mark.parametrize(
        "name",
        [name for name in Prompts().names if name != "plain/draft" and not name.startswith(("audit", "evaluate"))],
    )
    def test_text_that_looks_like_a_template_passes_through_unrendered(self, name: str) -> None:
        filled = variables(name)
        hostile = filled | {
            "prompt": HOSTILE,
            "default": HOSTILE,
            "draft": HOSTILE,
            "chunk": HOSTILE,
            "context": HOSTILE,
            "plan": dict.fromkeys(filled["plan"].model_dump(), HOSTILE),
            "sketch": dict.fromkeys(filled["sketch"].model_dump(), HOSTILE),
            "conversation": [{"role": "user", "content": HOSTILE}],
            "text": HOSTILE,
            "domain": HOSTILE,
            "instead": HOSTILE,
        }

        content = text_of(Prompts().render(name, hostile))

        assert HOSTILE in content
        assert "49" not in content

    def test_a_message_is_handed_on_as_it_was_typed(self) -> None:
        assert (
            Prompts()
            .render("chats/default", {"prompt": '  a\n\n\n  b <&> "c"'})[0]["content"]
            .endswith('a\n\n\n  b <&> "c"')
        )


class TestOverrides:
    def test_the_studys_own_file_wins_and_changes_the_hash(self, tmp_path: Path) -> None:
        prompts = own(tmp_path, chats__refine=ONE_MESSAGE)

        assert prompts.render("chats/refine", {"name": "Orla"}) == [{"role": "user", "content": "Write to Orla."}]
        assert prompts.hash("chats/refine") != Prompts().hash("chats/refine")
        assert prompts.hash("chats/rate") == Prompts().hash("chats/rate")
        assert prompts.is_overridden("chats/refine")
        assert not prompts.is_overridden("chats/rate")
        assert prompts.path("chats/refine") == tmp_path / "prompts" / "chats" / "refine.md"

    def test_a_file_that_says_the_same_has_the_same_hash(self, tmp_path: Path) -> None:
        prompts = own(tmp_path, chats__refine=(PACKAGE / "chats" / "refine.md").read_text(encoding="utf-8"))

        assert prompts.hash("chats/refine") == Prompts().hash("chats/refine")
        assert prompts.is_overridden("chats/refine")

    def test_a_part_of_the_studys_own_wins_in_every_prompt_that_includes_it(self, tmp_path: Path) -> None:
        prompts = own(tmp_path, _trait="THE TRAIT: {{ trait.name }}")

        for name in ("chats/plan", "chats/refine", "chats/draft", "chats/rate", "chats/critique"):
            assert "THE TRAIT: Candour" in text_of(prompts.render(name, variables()))
            assert prompts.hash(name) != Prompts().hash(name)
            assert prompts.is_overridden(name)
        assert not prompts.is_overridden("chats/prompt")
        assert prompts.hash("chats/prompt") == Prompts().hash("chats/prompt")

    def test_a_part_within_a_part_counts_as_well(self, tmp_path: Path) -> None:
        before = own(tmp_path, _trait="{% include '_manner.md' %}", _manner="Speak low.").hash("chats/refine")
        after = own(tmp_path, _manner="Speak up.")

        assert "Speak up." in text_of(after.render("chats/refine", variables()))
        assert after.hash("chats/refine") != before

    def test_a_study_without_prompts_of_its_own_takes_the_packages(self, tmp_path: Path) -> None:
        prompts = Prompts(tmp_path / "prompts")

        assert prompts.hash("chats/refine") == Prompts().hash("chats/refine")
        assert prompts.render("chats/refine", variables()) == Prompts().render("chats/refine", variables())

    def test_a_prompt_keeps_its_text_for_the_whole_run(self, tmp_path: Path) -> None:
        prompts = own(tmp_path, chats__refine=ONE_MESSAGE)
        first = prompts.hash("chats/refine")
        own(tmp_path, chats__refine="{% block user %}Changed.{% endblock %}")

        assert prompts.render("chats/refine", {"name": "Orla"})[0]["content"] == "Write to Orla."
        assert prompts.hash("chats/refine") == first

    def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(self, tmp_path: Path) -> None:
        prompts = own(tmp_path, chats__refine="\ufeff" + ONE_MESSAGE.replace("\n", "\r\n"))

        assert prompts.render("chats/refine", {"name": "Orla"}) == [{"role": "user", "content": "Write to Orla."}]


def refusal(prompts: Prompts) -> UserError:
    """Return what is said of a study's own `chats/refine`."""
    with pytest.raises(UserError) as caught:
        prompts.render("chats/refine", variables() | {"name": "Orla"})
    return caught.value


class TestMistakes:
    def test_a_variable_that_is_not_there_is_told_with_the_file_and_the_nearest(self, tmp_path: Path) -> None:
        prompts = own(tmp_path, chats__refine="{% block user %}Plan: {{ draff }}{% endblock %}")

        said = refusal(prompts)

        assert "'draff' is undefined" in said.what
        assert "Did you mean 'draft'?" in said.what
        assert said.where.startswith(str(tmp_path / "prompts" / "chats" / "refine.md"))
        assert "scenario" in said.todo

    def test_a_field_that_is_not_there_is_told_with_its_name(self, tmp_path: Path) -> None:
        for thing in ("plan.waht", "scenario.vioce", "sketch.persn", "trait.nane"):
            prompts = own(tmp_path, chats__refine=f"{{% block user %}}{{{{ {thing} }}}}{{% endblock %}}")

            said = refusal(prompts)

            assert f"'{thing.partition('.')[2]}'" in said.what
            assert "chats/refine.md" in said.where

    def test_a_mistake_in_a_part_is_told_with_the_file_of_the_part(self, tmp_path: Path) -> None:
        prompts = own(tmp_path, _trait="{{ trait.name }}\n{{ chnuk }}")

        said = refusal(prompts)

        assert "Did you mean 'chunk'?" in said.what
        assert "_trait.md" in said.where

    @pytest.mark.parametrize(
        "text",
        [
            "{% block user %}\nHello\n{{ name\n{% endblock %}",
            "{% block user %}\nHello\n{{ name | nosuchfilter }}{% endblock %}",
            "{% block user %}\nHello\n{% nosuchtag %}{% endblock %}",
            "{% block user %}\nHello\n{% if name %}{% endblock %}",
            "{% block user %}\nHello\n{% block user %}{% endblock %}{% endblock %}",
        ],
    )
    def test_broken_syntax_is_told_with_file_and_line(self, tmp_path: Path, text: str) -> None:
        prompts = own(tmp_path, chats__refine=text)

        for use in (lambda: prompts.render("chats/refine", {"name": "Orla"}), lambda: prompts.hash("chats/refine")):
            with pytest.raises(UserError) as caught:
                use()
            assert re.fullmatch(rf"{re.escape(str(tmp_path))}/prompts/chats/refine\.md:[34]", caught.value.where)

    def test_broken_syntax_in_a_part_is_told_with_its_file_and_line(self, tmp_path: Path) -> None:
        prompts = own(tmp_path, _trait="{{ trait.name }}\n\n{{ chunk\n")

        assert re.search(r"_trait\.md:[34]$", refusal(prompts).where)
        with pytest.raises(UserError) as caught:
            prompts.hash("chats/refine")
        assert re.search(r"_trait\.md:[34]$", caught.value.where)

    @pytest.mark.parametrize(
        "text", ["", "Write to {{ name }}.", "{# nothing #}", "{% block answer %}Hi{% endblock %}"]
    )
    def test_a_prompt_without_the_blocks_of_a_message_is_refused(self, tmp_path: Path, text: str) -> None:
        said = refusal(own(tmp_path, chats__refine=text))

        assert "'system' and 'user'" in said.what
        assert said.where == str(tmp_path / "prompts" / "chats" / "refine.md")
        assert "{% block user %}" in said.todo

    @pytest.mark.parametrize(
        "text",
        [
            "Be brief.\n{% block user %}Write to {{ name }}.{% endblock %}",
            "{% block user %}Write to {{ name }}.{% endblock %}\nAnd be brief.",
            "{% set manner = 'brief' %}{% block user %}Write to {{ name }}.{% endblock %}",
        ],
    )
    def test_what_stands_outside_the_blocks_is_not_lost_in_silence(self, tmp_path: Path, text: str) -> None:
        assert "block" in str(refusal(own(tmp_path, chats__refine=text)))

    def test_a_prompt_that_extends_another_does_not_lose_its_messages_in_silence(self, tmp_path: Path) -> None:
        prompts = own(tmp_path, chats__refine='{% extends "chats/rate.md" %}{% block system %}Be kind.{% endblock %}')

        said = refusal(prompts)

        assert "extends" in str(said)
        assert "chats/refine.md" in said.where

    def test_a_prompt_that_comes_out_empty_is_refused(self, tmp_path: Path) -> None:
        prompts = own(tmp_path, chats__refine="{% block user %}{% if false %}Hi{% endif %}{% endblock %}")

        assert "chats/refine.md" in refusal(prompts).where

    @pytest.mark.parametrize(
        "expression",
        [
            "''.__class__.__mro__",
            "''.__class__.__mro__[1].__subclasses__()",
            "plan.model_dump.__globals__",
            "plan.__class__.__init__.__globals__['sys']",
            "seats.append(1)",
            "conversation.clear()",
            "sketch.__dict__.update(person='x')",
            "cycler.__init__.__globals__.os.system('true')",
            "'{0.__class__.__mro__}'.format(plan)",
        ],
    )
    def test_a_prompt_that_reaches_into_python_is_refused(self, tmp_path: Path, expression: str) -> None:
        prompts = own(tmp_path, chats__refine=f"{{% block user %}}{{{{ {expression} }}}}{{% endblock %}}")

        assert "chats/refine.md" in refusal(prompts).where

    @pytest.mark.parametrize(
        "expression",
        ["draft + 1", "1 / 0", "draft.nope()", "plan()", "range(10 ** 9)", "conversation[9].role", "draft | round"],
    )
    def test_a_prompt_that_miscalculates_is_the_users_mistake(self, tmp_path: Path, expression: str) -> None:
        prompts = own(tmp_path, chats__refine=f"{{% block user %}}{{{{ {expression} }}}}{{% endblock %}}")

        assert "chats/refine.md" in refusal(prompts).where

    def test_a_part_that_is_not_there_is_told_with_its_name(self, tmp_path: Path) -> None:
        prompts = own(tmp_path, chats__refine="{% block user %}{% include '_triat.md' %}{% endblock %}")

        assert "_triat" in str(refusal(prompts))
        with pytest.raises(UserError, match="_triat"):
            prompts.hash("chats/refine")

    def test_a_part_cannot_be_fetched_from_outside_the_prompts(self, tmp_path: Path) -> None:
        (tmp_path / "secret.md").write_text("the key")
        prompts = own(tmp_path, chats__refine="{% block user %}{% include '../secret.md' %}{% endblock %}")

        assert "the key" not in str(refusal(prompts))

    @pytest.mark.parametrize("name", ["chats/refin", "chat/refine", "refine"])
    def test_a_prompt_that_does_not_exist_is_told_with_the_nearest(self, name: str) -> None:
        for use in (lambda: Prompts().render(name, {}), lambda: Prompts().hash(name)):
            with pytest.raises(UserError, match=r"Did you mean 'chats/refine'|There are:"):
                use()

    def test_a_prompt_that_is_not_utf8_is_refused(self, tmp_path: Path) -> None:
        prompts = own(tmp_path, chats__refine="x")
        prompts.path("chats/refine").write_bytes("{% block user %}Zoë{% endblock %}".encode("latin-1"))

        said = refusal(prompts)

        assert "UTF-8" in said.what
        assert said.where.endswith("chats/refine.md")
        with pytest.raises(UserError, match="UTF-8"):
            Prompts(tmp_path / "prompts").hash("chats/refine")
