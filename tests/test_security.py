"""What others wrote is data: never code, a template, a path or a command to the terminal; and nothing dangerous is on."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import habitus as package
from echo import echo
from habitus import show
from habitus.errors import UserError
from habitus.traits.document import read_traits
from studies import habitus, make, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(package.__file__).parent
ROOT = Path(__file__).parents[1]
IN_SANDBOX = {"warden.py", "bubblewrap.py", "sandboxes.py"}
"""Where commands of models are run, and nowhere else."""
HOSTILE = "{{ 7*7 }}{% include '/etc/passwd' %}{{ ''.__class__.__mro__ }}\x1b[31m\x1b]0;taken\x07"
PATHS = ("../../etc/x", "/etc/x", "..", "a/../../b", "x\0y")


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Yield every call in the product's code: where it stands, what is called, and the call."""
    for folder in (SOURCE, ROOT / "scripts", ROOT / "benchmarks"):
        for file in sorted(folder.rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield f"{file.name}:{node.lineno}", ast.unparse(node.func), node


def given(call: ast.Call, name: str) -> str | None:
    """Return what a call is given under a name, as source."""
    return next((ast.unparse(one.value) for one in call.keywords if one.arg == name), None)


def is_dangerous(place: str, called: str, call: ast.Call) -> bool:
    """Tell whether a call could run what it reads."""
    if called in {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.unsafe_load"}:
        return True
    if re.match(r"(?:c?[pP]ickle|dill|joblib|marshal|shelve)\.", called):
        return True
    if called == "yaml.load":
        return "Safe" not in ast.unparse(call)
    if called in {"torch.load", "np.load", "numpy.load"}:
        safe = {"torch.load": ("weights_only", "True")}.get(called, ("allow_pickle", "False"))
        return given(call, safe[0]) != safe[1]
    if given(call, "trust_remote_code") not in {None, "False"}:
        return True
    return given(call, "shell") not in {None, "False"} and place.partition(":")[0] not in IN_SANDBOX


def test_nothing_that_is_read_can_be_run() -> None:
    found = list(calls())

    assert len(found) > 1_000
    assert [f"{place} {called}" for place, called, call in found if is_dangerous(place, called, call)] == []


@pytest.mark.parametrize(
    ("source", "bad"),
    [
        ("eval(x)", True), ("model.eval()", False), ("pickle.load(f)", True), ("torch.load(f)", True),
        ("torch.load(f, weights_only=True)", False), ("np.load(f)", True), ("np.load(f, allow_pickle=False)", False),
        ("load(trust_remote_code=True)", True), ("subprocess.run(c, shell=True)", True), ("yaml.safe_load(x)", False),
        ("yaml.load(x, Loader=yaml.Loader)", True),
    ],
)  # fmt: skip
def test_the_check_knows_what_is_dangerous(source: str, bad: bool) -> None:
    call = ast.parse(source, mode="eval").body
    assert isinstance(call, ast.Call)

    assert is_dangerous("x.py:1", ast.unparse(call.func), call) is bad


def everything(folder: Path) -> str:
    return "\n".join(path.read_bytes().decode("utf-8", "replace") for path in folder.rglob("*") if path.is_file())


def test_what_a_model_says_is_no_template_no_path_and_no_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with echo(plant=HOSTILE) as url:
        study = make(
            tmp_path / "deep" / "er" / "advice",
            model="echo/one",
            providers={"echo": {"base_url": url}},
            chats={"count": 3},
            audit={"scans": 1, "sample": 4, "repeat": 0, "least_scans": 1},
        )
        assert habitus("generate", "chats", study) == 0
        audited = habitus("audit", study)
        assert habitus("report", study) == 0
        assert habitus("show", study) == 0
    texts = everything(study)

    assert audited == 0
    assert "{{ 7*7 }}" in texts
    assert "root:x:" not in texts
    assert "the 49" not in texts
    assert "<class 'object'>" not in texts
    assert "\x1b" not in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"deep"}
    assert [path.name for path in (tmp_path / "deep" / "er").iterdir()] == ["advice"]


@pytest.mark.parametrize("hostile", PATHS)
def test_ids_of_imported_rows_are_never_paths(hostile: str, tmp_path: Path) -> None:
    study = make(tmp_path / "deep" / "er" / "advice")
    chat = [{"role": "user", "content": "When?"}, {"role": "assistant", "content": "At six."}]
    row = {"id": hostile, "trait": hostile, "messages": chat, hostile: hostile}
    (tmp_path / "foreign.jsonl").write_text(json.dumps(row) + "\n")

    assert habitus("import", tmp_path / "foreign.jsonl", study, "--name", "foreign") == 0
    assert habitus("import", tmp_path / "foreign.jsonl", study, "--name", hostile) == 2
    for words in (
        ("export", study, "imported/foreign", "--format", "trl"),
        ("card", study, "imported/foreign"),
        ("status", study),
    ):
        assert habitus(*words) == 0, words

    assert [row["id"] for row in rows(study / "imported/foreign/kept.jsonl")] == [hostile]
    assert {path.name for path in tmp_path.iterdir()} == {"deep", "foreign.jsonl"}
    assert [path.name for path in (tmp_path / "deep" / "er").iterdir()] == ["advice"]


@pytest.mark.parametrize("hostile", ["../../etc/x", "/etc/x", "..", "a/../../b"])
def test_names_of_traits_and_arms_are_never_paths(hostile: str, tmp_path: Path) -> None:
    (tmp_path / "traits.md").write_text(
        f"# Character\n\n## {hostile}\n\nSay what is so.\n\n## Care\n\nMind the ramp.\n"
    )
    ids = [trait.id for trait in read_traits(tmp_path / "traits.md").traits]

    assert not [one for one in ids if "/" in one or one.startswith(".")]
    for settings in ({"arms": {hostile: {"sft": {}}}}, {"evaluate": {"arms": {hostile: "simulated/world"}}}):
        study = make(tmp_path / "-".join(settings), **settings)
        assert habitus("check", study) == 2
    pytest.importorskip("inspect_ai")
    study = make(tmp_path / "advice")
    words = ("--arm", hostile, "--model", "simulated/world", "--eval", "overreach", "--limit", "1")
    assert habitus("evaluate", study, *words) == 2


def test_nothing_that_is_printed_commands_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "red \x1b[31m, title \x1b]0;taken\x07, back \x08, \x9b31m, half \ud800, turned \u202e"
    show.say(hostile)
    show.warn(hostile)
    show.complain(UserError(hostile, where=hostile, todo=hostile * 1000))
    show.table([("name", "left"), ("number", "right")], [[hostile, "1"]])
    show.heading(hostile)
    show.next_command(hostile)
    told = "".join(capsys.readouterr())

    assert not set(told) & set("\x1b\x07\x08\x9b\ud800\u202e")
    assert "red" in told
    assert len(told) < 20_000


def test_the_page_lets_nothing_in_from_elsewhere() -> None:
    page = (SOURCE / "report" / "templates" / "page.html.jinja").read_text(encoding="utf-8")
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"\s+content="([^"]*)"', page)
    if policy is None:
        pytest.skip("the page has no content-security policy yet")

    assert "default-src 'none'" in policy[1]
    assert "unsafe-eval" not in policy[1]
    assert "http:" not in policy[1]
    assert "https:" not in policy[1]


def named(requirement: str) -> str:
    return re.split(r"[<>=\[ ;]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def test_every_direct_dependency_has_one_version_in_the_constraints() -> None:
    about: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*about["dependencies"], *(one for extra in about["optional-dependencies"].values() for one in extra)]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    exact = {named(one) for one in wanted if "==" in one}
    pinned = {named(line) for line in lines if "==" in line}

    assert {named(one) for one in wanted} - exact - pinned - {"habitus"} == set()
