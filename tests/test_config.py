from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest

import habitus
from habitus.config import ROLES, Config, ModelChoice, load_config
from habitus.errors import UserError
from habitus.records import Role

STARTER = Path(habitus.__file__).parent / "starter.yaml"


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(tmp_path: Path, text: str | bytes) -> str:
    """Return what is said of a config that is not accepted, without the folder."""
    with pytest.raises(UserError) as caught:
        load_config(written(tmp_path, text))
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_the_starter_loads_and_says_what_the_defaults_say(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, STARTER.read_bytes()))

    assert config.model_dump(exclude={"subject"}) == Config().model_dump(exclude={"subject"})
    assert config.subject is not None
    assert config.subject.name
    assert config.models.default.model == "simulated/world"


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# nothing is set yet\n", "---\n", "--- # nothing yet\n...\n", "{}\n", "\ufeff"]
)
def test_an_empty_config_is_all_defaults(tmp_path: Path, text: str) -> None:
    assert load_config(written(tmp_path, text)).model_dump() == Config().model_dump()


@pytest.mark.parametrize("section", ["chats", "models", "steps", "providers"])
def test_a_section_whose_keys_are_all_commented_out_is_all_defaults(tmp_path: Path, section: str) -> None:
    config = load_config(written(tmp_path, f"seed: 3\n{section}:\n  # count: 500\n"))

    assert config.model_dump() == Config(seed=3).model_dump()


@pytest.mark.parametrize(
    ("text", "place", "key", "meant"),
    [
        ("version: 1\nseeed: 3\n", "config.yaml:2", "'seeed'", "'seed'"),
        ("chats:\n  count: 9\n  cuont: 3\n", "config.yaml:3", "'chats.cuont'", "'count'"),
        ("chats:\n  dedup:\n    treshold: 0.9\n", "config.yaml:3", "'chats.dedup.treshold'", "'threshold'"),
        ("models:\n  refinr: openai/gpt-5\n", "config.yaml:2", "'models.refinr'", "'refiner'"),
        ("models:\n  judge:\n    modl: lab/owl\n", "config.yaml:3", "'models.judge.modl'", "'model'"),
        (
            "providers:\n  lab:\n    base_url: http://owl:80/v1\n    headrs: {}\n",
            "config.yaml:4",
            "'providers.lab.headrs'",
            "'headers'",
        ),
        ("steps:\n  chats/refine:\n    parms: {}\n", "config.yaml:3", "'steps.chats/refine.parms'", "'params'"),
        (
            "steps:\n  chats/rate:\n    price: {input: 1, output: 2, cahced: 3}\n",
            "config.yaml:3",
            "'steps.chats/rate.price.cahced'",
            "'cached'",
        ),
        (
            "models: {default: {model: lab/owl, price: {input: 1, output: 2, outputs: 3}}}",
            "config.yaml:1",
            "'models.default.price.outputs'",
            "'output'",
        ),
    ],
)
def test_an_unknown_key_is_told_with_its_line_and_the_nearest_name(
    tmp_path: Path, text: str, place: str, key: str, meant: str
) -> None:
    assert refusal(tmp_path, text) == f"{place}: unknown key {key}. Did you mean {meant}?"


def test_an_unknown_key_that_is_like_no_other_is_told_the_choices(tmp_path: Path) -> None:
    said = refusal(tmp_path, "chats:\n  dedup:\n    xyzzy: 1\n")

    assert said == "config.yaml:3: unknown key 'chats.dedup.xyzzy'. There are: embedder, threshold."


def test_a_step_that_is_called_like_a_setting_is_still_told_the_right_keys(tmp_path: Path) -> None:
    said = refusal(tmp_path, "steps:\n  price:\n    modell: lab/owl\n")

    assert "Did you mean 'model'?" in said


@pytest.mark.parametrize(
    ("text", "place", "key"),
    [
        ("chats:\n  count: many\n", "config.yaml:2", "chats.count"),
        ("chats:\n  count: 2.5\n", "config.yaml:2", "chats.count"),
        ("chats:\n  count: yes\n", "config.yaml:2", "chats.count"),
        ("seed: true\n", "config.yaml:1", "seed"),
        ("seed: 2024-01-01\n", "config.yaml:1", "seed"),
        ("chats: twelve\n", "config.yaml:1", "chats"),
        ("chats: [count]\n", "config.yaml:1", "chats"),
        ("chats:\n  dedup:\n    embedder: [owl]\n", "config.yaml:3", "chats.dedup.embedder"),
        ("providers:\n  lab: {base_url: ''}\n", "config.yaml:2", "providers.lab.base_url"),
        ("models:\n  default: [lab/owl]\n", "config.yaml:2", "models.default"),
        ("models:\n  default:\n    params: [hot]\n", "config.yaml:3", "models.default.params"),
        ("chats:\n  axes:\n    form: 'a plan'\n", "config.yaml:3", "chats.axes.form"),
        ("chats:\n  axes:\n    form: []\n", "config.yaml:3", "chats.axes.form"),
        ("chats:\n  axes:\n    form:\n      - a plan\n      - 3\n", "config.yaml:5", "chats.axes.form.1"),
        ("chats:\n  axes:\n    person: [Orla, no]\n", "config.yaml:3", "chats.axes.person.1"),
        ("providers:\n  lab: {}\n", "config.yaml:2", "providers.lab.base_url"),
        ("providers:\n  lab:\n    base_url: owl:8000/v1\n", "config.yaml:3", "providers.lab.base_url"),
        (
            "providers:\n  lab:\n    base_url: http://owl/v1\n    response_format: xml\n",
            "config.yaml:4",
            "response_format",
        ),
        ("version: 2\n", "config.yaml:1", "version"),
    ],
)
def test_a_wrong_type_is_told_with_its_line_and_key(tmp_path: Path, text: str, place: str, key: str) -> None:
    said = refusal(tmp_path, text)

    assert said.startswith(f"{place}: ")
    assert key in said


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("chats: {count: -1}", "chats.count"),
        ("chats: {count: 0}", "chats.count"),
        ("chats: {contrast: 1.5}", "chats.contrast"),
        ("chats: {contrast: -0.1}", "chats.contrast"),
        ("chats: {contrast: .nan}", "chats.contrast"),
        ("chats: {most_planned: 0.5}", "chats.most_planned"),
        ("chats: {most_planned: .inf}", "chats.most_planned"),
        ("chats: {chunk_tokens: 0}", "chats.chunk_tokens"),
        ("chats: {context_tokens: -1}", "chats.context_tokens"),
        ("chats: {dedup: {threshold: 0}}", "chats.dedup.threshold"),
        ("chats: {dedup: {threshold: 1.01}}", "chats.dedup.threshold"),
        ("chats: {thresholds: {natural: 6}}", "chats.thresholds.natural"),
        ("seed: -1", "seed"),
        ("concurrency: 0", "concurrency"),
        ("concurrency: 100000", "concurrency"),
        ("budget: 0", "budget"),
        ("budget: -20", "budget"),
        ("budget: .nan", "budget"),
        ("try_timeout: 0", "try_timeout"),
        ("total_timeout: -1", "total_timeout"),
        ("models: {default: {model: lab/owl, price: {input: -1, output: 2}}}", "models.default.price.input"),
    ],
)
def test_a_number_out_of_range_is_refused(tmp_path: Path, text: str, key: str) -> None:
    assert refusal(tmp_path, text).startswith(f"config.yaml:1: {key}: ")


@pytest.mark.parametrize(
    "turns",
    [
        "{}",
        "{0: 1}",
        "{6: 1}",
        "{1: 0.8, 9: 0.2}",
        "{1: -0.2, 2: 1.2}",
        "{1: 0}",
        "{1: .nan}",
        "{1: .inf, 2: 1}",
        "{one: 1}",
    ],
)
def test_turns_are_one_to_five_with_shares_that_add_up_to_something(tmp_path: Path, turns: str) -> None:
    assert refusal(tmp_path, f"chats:\n  turns: {turns}\n").startswith("config.yaml:2: chats.turns")


def test_an_axis_without_values_is_the_built_in_axis(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "chats:\n  axes:\n    form:\n")).chats.axes.form is None


def test_a_share_that_is_no_number_is_told_with_its_own_line(tmp_path: Path) -> None:
    said = refusal(tmp_path, "chats:\n  turns:\n    1: 0.5\n    2: half\n")

    assert said.startswith("config.yaml:4: chats.turns.2: ")


def test_all_mistakes_are_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    said = refusal(tmp_path, "seed: -1\nconcurrency: 0\nmodels:\n  author: gpt-5\nbugdet: 3\n").splitlines()

    assert sorted(line.partition(": ")[0] for line in said) == [f"config.yaml:{number}" for number in (1, 2, 4, 5)]


def test_a_value_that_may_be_secret_is_not_repeated_in_a_complaint(tmp_path: Path) -> None:
    said = refusal(tmp_path, "providers:\n  lab:\n    headers: {Authorization: Bearer sk-lighthouse-0451}\n")

    assert "base_url" in said
    assert "sk-lighthouse" not in said


@pytest.mark.parametrize(
    ("text", "place", "first"),
    [
        ("seed: 1\nbudget: 2\nseed: 2\n", "config.yaml:3", "line 1"),
        ("chats:\n  count: 1\n  seed: 3\n  count: 2\n", "config.yaml:4", "line 2"),
        ("chats:\n  turns:\n    1: 0.2\n    1: 0.8\n", "config.yaml:4", "line 3"),
        ("chats:\n  count: 1\nseed: 2\nchats:\n  contrast: 0\n", "config.yaml:4", "line 1"),
        ("models:\n  default: {model: lab/owl, params: {top_p: 1, top_p: 0.9}}\n", "config.yaml:2", "line 2"),
    ],
)
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, text: str, place: str, first: str) -> None:
    said = refusal(tmp_path, text)

    assert said.startswith(f"{place}: ")
    assert "twice" in said
    assert first in said


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("seed: 1\nchats:\n\tcount: 1\n", "config.yaml:3"),
        ("seed: 1\nchats: {count: 1\n", "config.yaml:3"),
        ("seed: 1\nsubject: {name: Owl}}\n", "config.yaml:2"),
        ("seed: 1\nsubject:\n  name: the 'owl\n   developer: x: y\n", "config.yaml:4"),
        ("seed: *seven\n", "config.yaml:1"),
        ("seed: 1\nseed2: !!python/object/apply:os.getcwd []\n", "config.yaml:2"),
        ("seed: 1\n---\nseed: 2\n", "config.yaml:2"),
        ("? [seed]\n: 1\n", "config.yaml:1"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(tmp_path: Path, text: str, place: str) -> None:
    said = refusal(tmp_path, text)

    assert said.startswith(f"{place}: this is not valid YAML: ")
    assert "\n" not in said


@pytest.mark.parametrize("text", ["- seed\n- 7\n", "seed\n", "7\n", "true\n"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text).startswith("config.yaml:1: a config is ")


@pytest.mark.parametrize("key", ["3", "1.5"])
def test_a_key_that_is_no_text_is_refused(tmp_path: Path, key: str) -> None:
    assert refusal(tmp_path, f"seed: 1\n{key}: 4\n").startswith("config.yaml:2: ")


@pytest.mark.parametrize("text", ["traits: Zoë.md".encode("latin-1"), "seed: 7\n".encode("utf-16"), b"seed: \xff"])
def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path, text: bytes) -> None:
    assert refusal(tmp_path, text) == "config.yaml:1: this file is not UTF-8. Save it as UTF-8."


def test_control_characters_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, "seed: 1\0\n").startswith("config.yaml:1: this is not valid YAML: ")


def test_a_missing_file_says_how_to_make_a_study(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="habitus init"):
        load_config(tmp_path / "config.yaml")


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").mkdir()

    with pytest.raises(UserError, match=r"config\.yaml"):
        load_config(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "budget: " + "[" * 5000 + "]" * 5000,
        "\n".join(f"{' ' * depth}chats:" for depth in range(2000)),
        "seed: " + "9" * 5000,
    ],
    ids=["lists", "mappings", "digits"],
)
def test_absurd_depth_and_length_are_refused_and_break_nothing(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text).startswith("config.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "chats: &all\n  axes: *all\n",
        "&all\nchats: *all\n",
        "chats:\n  axes:\n    form: &forms [a plan, *forms]\n",
        "models:\n  default: &own\n    model: lab/owl\n    params: {stop: *own}\n",
    ],
)
def test_an_anchor_within_itself_is_refused(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text).startswith("config.yaml")


LISTS = "a: &a [owl, owl]\n" + "".join(
    f"{one}: &{one} [{', '.join([f'*{before}'] * 9)}]\n" for before, one in pairwise("abcdefghi")
)
MERGES = "a: &a {owl: 1}\n" + "".join(
    f"{one}: &{one} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n" for before, one in pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    "text",
    [
        LISTS + "chats: *i",
        LISTS + "seed: *i",
        LISTS + "models: {default: {model: lab/owl, params: {stop: *i}}}",
        MERGES + "chats: *i",
    ],
    ids=["section", "number", "params", "merges"],
)
def test_anchors_that_multiply_are_refused_in_little_room(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    script = """
import pathlib, resource, sys
from habitus.config import load_config
from habitus.errors import UserError
resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
try:
    load_config(pathlib.Path(sys.argv[1]))
except UserError as error:
    print(str(error)[:400])
"""
    found = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=False, timeout=100
    )

    assert found.returncode == 0, f"ended with {found.returncode}: {found.stderr[-300:]}"
    assert "config.yaml" in found.stdout


def test_a_model_without_a_provider_is_told_how_to_write_it(tmp_path: Path) -> None:
    said = refusal(tmp_path, "models:\n  default: lab/owl\n  author: gpt-5\n")

    assert said.startswith("config.yaml:3: models.author")
    assert "provider/name" in said
    assert "openai/gpt-5" in said


@pytest.mark.parametrize("name", ["openai/", "/gpt-5", "/", "' /gpt-5'", "''"])
def test_half_a_model_name_is_refused(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path, f"models:\n  author: {name}\n").startswith("config.yaml:2: models.author")


@pytest.mark.parametrize("role", ["default", "author", "judge"])
def test_a_role_names_a_model_and_not_params_alone(tmp_path: Path, role: str) -> None:
    said = refusal(tmp_path, f"models:\n  {role}: {{params: {{temperature: 1}}}}\n")

    assert said.startswith(f"config.yaml:2: models.{role}")


@pytest.mark.parametrize("params", ["{logit_bias: {50256: -100}}", "{seed: 3, stop: [END], metadata: {1: a, 2: b}}"])
def test_params_with_numbers_for_keys_become_json_that_can_be_sent(tmp_path: Path, params: str) -> None:
    """A token id is a number in YAML and a string in JSON."""
    config = load_config(written(tmp_path, f"models:\n  default: {{model: lab/owl, params: {params}}}\n"))

    assert all(isinstance(key, str) for key in _keys(config.models.default.params))


def _keys(value: Any) -> list[Any]:
    if not isinstance(value, dict):
        return []
    return [*value, *(key for inner in value.values() for key in _keys(inner))]


STAFFED = """\
models:
  default: {model: lab/owl, params: {temperature: 1}}
  refiner:
    model: openai/gpt-5
    params: {reasoning_effort: low, max_tokens: 4000}
    price: {input: 1, output: 10}
steps:
  chats/rate: lab/raven
  chats/refine:
    params: {max_tokens: 9000}
  chats/draft: {model: lab/crow, params: {top_p: 0.9}}
"""


@pytest.fixture
def staffed(tmp_path: Path) -> Config:
    return load_config(written(tmp_path, STAFFED))


def test_a_role_without_a_model_takes_the_default(staffed: Config) -> None:
    assert staffed.choice("author", "chats/plan") == ModelChoice(model="lab/owl", params={"temperature": 1})
    assert staffed.place("author", "chats/plan") == "config.yaml:2"


def test_a_role_with_a_model_takes_its_own(staffed: Config) -> None:
    assert staffed.choice("refiner", "chats/other").params == {"reasoning_effort": "low", "max_tokens": 4000}
    assert staffed.place("refiner", "chats/other") == "config.yaml:3"


def test_a_step_with_a_model_takes_that_and_nothing_of_its_role(staffed: Config) -> None:
    assert staffed.choice("author", "chats/draft") == ModelChoice(model="lab/crow", params={"top_p": 0.9})
    assert staffed.place("author", "chats/draft") == "config.yaml:11"
    assert staffed.choice("judge", "chats/rate").model == "lab/raven"
    assert staffed.place("judge", "chats/rate") == "config.yaml:8"


def test_a_step_with_params_alone_lays_them_over_its_role(staffed: Config) -> None:
    choice = staffed.choice("refiner", "chats/refine")

    assert choice.model == "openai/gpt-5"
    assert choice.params == {"reasoning_effort": "low", "max_tokens": 9000}
    assert choice.price is not None
    assert choice.price.output == 10
    assert staffed.place("refiner", "chats/refine") == "config.yaml:3"
    assert staffed.models.refiner is not None
    assert staffed.models.refiner.params["max_tokens"] == 4000


def test_what_nobody_set_is_a_built_in_default(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "seed: 3\n"))

    assert config.place("judge", "chats/rate") == "built-in default"
    assert Config().place("judge", "chats/rate") == "built-in default"
    assert config.choice("judge", "chats/rate").model == "simulated/world"


def test_every_role_has_its_place_under_models() -> None:
    assert get_args(Role) == ROLES
    for role in ROLES:
        assert Config().choice(role, "chats/plan").model == "simulated/world"


def test_a_config_is_not_changed_after_loading(staffed: Config) -> None:
    with pytest.raises(ValueError, match="frozen"):
        staffed.seed = 8  # ty: ignore[invalid-assignment]


def test_windows_line_ends_count_as_one_line_each(tmp_path: Path) -> None:
    assert refusal(tmp_path, "seed: 1\r\n\r\nconcurrency: 0\r\n").startswith("config.yaml:3: concurrency")
