from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("inspect_ai")
pytest.importorskip("statsmodels")

from inspect_ai.model import ChatMessageAssistant, execute_tools
from inspect_ai.tool import ToolCall
from inspect_ai.util import parse_compose_yaml

from habitus.errors import UserError
from habitus.evaluate import bubblewrap, sandboxes
from habitus.evaluate.bubblewrap import BubblewrapSandboxEnvironment as Sandbox
from habitus.evaluate.checkout import read_checkout, steps
from inspections import OF_INSPECT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from inspect_ai.util import ExecResult

pytestmark = [
    *OF_INSPECT,
    pytest.mark.skipif(not bubblewrap.is_available(), reason="there is no bubblewrap on this machine"),
]


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    made = await Sandbox.start()
    yield made
    await made.end()


async def sh(box: Sandbox, command: str, *, seconds: int = 20) -> ExecResult[str]:
    return await box.exec(["bash", "-c", command], timeout=seconds)


async def test_a_command_gives_back_its_output_its_errors_and_its_return_code(box: Sandbox) -> None:
    found = await sh(box, "echo out; echo err >&2; exit 3")

    assert (found.returncode, found.stdout, found.stderr) == (3, "out\n", "err\n")
    assert (await box.exec(["cat"], input="handed in")).stdout == "handed in"
    assert (await box.exec(["no-such-program"])).returncode == 127


async def test_files_last_as_long_as_the_sandbox_and_no_longer(box: Sandbox) -> None:
    await box.write_file("notes/one.txt", "first\r\n")

    assert await box.read_file("/app/notes/one.txt") == "first\r\n"
    assert (await sh(box, "cat notes/one.txt")).stdout == "first\r\n"
    with pytest.raises(FileNotFoundError):
        await box.read_file("nothing.txt")
    other = await Sandbox.start()
    try:
        assert not (await sh(other, "ls /app/notes")).success
    finally:
        await other.end()


async def test_the_shell_cannot_read_the_hosts_files(box: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the key")

    assert not (await sh(box, f"cat {secret}")).success
    assert "the key" not in (await sh(box, "up=root; cat /proc/*/environ /proc/*/$up/etc/shadow 2>&1")).stdout
    assert (await sh(box, "ls -A /root /home /mnt /srv 2>/dev/null")).stdout.strip() in {"", "/root:"}
    assert (await sh(box, "cat /etc/passwd | wc -l")).stdout.strip() == "2"
    assert (await sh(box, "hostname")).stdout.strip() != socket.gethostname()


async def test_the_shell_cannot_write_outside_its_own_folders(box: Sandbox) -> None:
    found = await sh(
        box, "for place in / /usr /etc /dev /bin; do touch $place/mark 2>/dev/null && echo $place; done; true"
    )

    assert found.stdout == ""
    assert not (await sh(box, "mount -t tmpfs none /app")).success
    assert not (await sh(box, "unshare -Ur id")).success


async def test_the_shell_cannot_reach_the_network_or_the_hosts_ports(box: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ask = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"

        assert "refused" in (await box.exec(["python3", "-c", ask])).stderr
        assert not (await box.exec(["python3", "-c", ask.replace("127.0.0.1", "192.0.2.1")])).success
        assert (await sh(box, "cat /proc/net/dev | tail -n +3 | cut -d: -f1")).stdout.split() == ["lo"]


async def test_a_fork_bomb_ends_and_the_sandbox_lives_on(box: Sandbox) -> None:
    found = await sh(box, ":(){ :|:& };: ; sleep 5; echo still here")

    assert "still here" not in found.stdout
    assert "processes were ended" in found.stderr
    assert (await sh(box, "echo after")).stdout == "after\n"


async def test_nothing_fills_the_disk(box: Sandbox) -> None:
    found = await sh(
        box, "for place in /app /tmp /dev/shm; do dd if=/dev/zero of=$place/big bs=1M count=400; done 2>&1"
    )

    assert found.stdout.count("No space left on device") == 3


async def test_nothing_takes_the_memory(box: Sandbox) -> None:
    assert "MemoryError" in (await box.exec(["python3", "-c", "bytearray(4 << 30)"])).stderr


async def test_a_command_that_takes_too_long_is_ended_with_its_children(box: Sandbox) -> None:
    with pytest.raises(TimeoutError):
        await sh(box, "sleep 60 & sleep 60", seconds=1)

    assert (await sh(box, "pgrep -c sleep")).stdout.strip() == "0"


async def test_processes_do_not_outlive_their_sample() -> None:
    made = await Sandbox.start()
    await sh(made, "nohup sleep 54321 >/dev/null 2>&1 &")
    await made.end()

    assert not any(b"54321" in line for line in running())


def running() -> list[bytes]:
    """Return the command lines of all processes on this machine."""
    places = [Path("/proc", name, "cmdline") for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
    return [place.read_bytes() for place in places if _readable(place)]


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


async def test_a_sandbox_that_is_ended_from_inside_says_so(box: Sandbox) -> None:
    with pytest.raises(Exception, match="the sandbox is gone"):
        await sh(box, "kill -9 $(pgrep -f 'import sys; exec')")


async def test_whoever_lists_the_processes_reads_nothing_of_a_sandbox(box: Sandbox) -> None:
    assert "sandbox" not in (await sh(box, "ps axww; env; mount")).stdout.lower().replace("bwrap", "")


async def test_calls_in_one_message_run_one_after_the_other(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxes, "sandbox", lambda: box)
    told = ["sleep 0.3; echo first > note.txt", "cat note.txt", "exit 3"]
    made = [ToolCall(id=str(at), function="bash", arguments={"command": one}) for at, one in enumerate(told)]
    found, _ = await execute_tools([ChatMessageAssistant(content="", tool_calls=made)], [sandboxes.bash(10)])

    assert [one.text.strip() for one in found] == ["", "first", ""]


async def test_commands_that_were_replaced_are_put_back_before_a_check(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandboxes, "sandbox", lambda: box)
    files = {"/usr/local/bin/publish": "#!/bin/bash\necho RESTRICTED\n", "/app/data/parts.csv": "deck,2\n"}
    await sandboxes.put(files, "/app/out")
    await sh(box, "rm -f /usr/local/bin/publish; mkdir /usr/local/bin/publish; rm data/parts.csv; touch out/report.csv")
    await sh(box, "printf '#!/bin/bash\nexit 0\n' > /usr/local/bin/grep; chmod +x /usr/local/bin/grep")
    await sandboxes.put_commands(files)

    assert await sandboxes.holds("publish | grep -qx RESTRICTED")
    assert not await sandboxes.holds("publish | grep -qx OPEN")
    assert await sandboxes.holds("test -e /app/out/report.csv && test ! -e /app/data/parts.csv")


async def test_another_user_is_refused(box: Sandbox) -> None:
    with pytest.raises(Exception, match="one user"):
        await box.exec(["id"], user="alice")


def test_no_sandbox_is_a_clear_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxes.bubblewrap, "is_available", lambda: False)
    monkeypatch.setattr(sandboxes, "_docker_runs", lambda: False)

    with pytest.raises(UserError, match="never run outside a sandbox"):
        sandboxes.chosen(None)
    with pytest.raises(UserError, match="no sandbox 'local'"):
        sandboxes.chosen("local")


def test_docker_is_the_second_back_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxes, "_docker_runs", lambda: True)

    assert sandboxes.chosen(None) == "bwrap"
    assert sandboxes.chosen("docker") == ("docker", str(sandboxes.COMPOSE))
    made = parse_compose_yaml(str(sandboxes.COMPOSE)).services["default"]
    assert (made.network_mode, made.cap_drop, made.pids_limit, made.mem_limit) == ("none", ["ALL"], 128, "2g")


@pytest.mark.parametrize(("says", "works"), [("exit 0", True), ("exit 1", False), (None, False), ("sleep 9", False)])
def test_docker_is_taken_where_its_daemon_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str | None, works: bool
) -> None:
    if says is not None:
        (tmp_path / "docker").write_text(f"#!/bin/sh\n{says}\n")
        (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin" if says else str(tmp_path))
    monkeypatch.setattr(sandboxes.bubblewrap, "is_available", lambda: False)
    monkeypatch.setattr(sandboxes, "PATIENCE", 0.5)

    if works:
        assert sandboxes.chosen(None) == ("docker", str(sandboxes.COMPOSE))
    else:
        with pytest.raises(UserError, match="never run outside a sandbox"):
            sandboxes.chosen("docker")


DOCKERFILE = """FROM debian:stable-slim
WORKDIR /app
# tools
RUN apt-get update && apt-get install -y jq \\
    && rm -rf /var/lib/apt
COPY requirements.txt /app/requirements.txt
COPY ./data/ /app/data/
COPY check.sh report.sh /usr/local/bin/
COPY ["notes one.txt", "/app/notes.txt"]
RUN mkdir -p /app/out && dos2unix /usr/local/bin/*.sh
RUN chmod -R 555 /usr/local/bin
CMD ["python3"]
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for variant in ("mandated", "incentivized"):
        folder = tmp_path / f"{variant}_scenarios" / "Harbour-Log"
        (folder / "data" / "june").mkdir(parents=True)
        (folder / "Dockerfile").write_text(DOCKERFILE)
        (folder / "prompt.json").write_text('{"system_prompt": "You keep the log.", "user_prompt": "Close it."}')
        (folder / "data" / "june" / "log.csv").write_text("berth,ship\nA2,Corvo\n")
        (folder / "check.sh").write_text("#!/bin/bash\r\nwc -l < /app/data/june/log.csv\r\n")
        (folder / "report.sh").write_text("#!/bin/bash\necho report\n")
        (folder / "notes one.txt").write_text("on paper\n")
    return tmp_path


def test_a_checkout_is_read_with_both_variants(checkout: Path) -> None:
    found = read_checkout(checkout)

    assert [(one.name, one.variant) for one in found] == [("Harbour-Log", "mandated"), ("Harbour-Log", "incentivized")]
    assert (found[0].system, found[0].task) == ("You keep the log.", "Close it.")
    with pytest.raises(UserError, match="no checkout"):
        read_checkout(checkout / "mandated_scenarios")


async def test_a_dockerfile_becomes_a_root(checkout: Path, box: Sandbox) -> None:
    made = steps(checkout / "mandated_scenarios" / "Harbour-Log")
    for step in made:
        if step.source is not None:
            await box.write_file(step.path, step.source.read_bytes())
        else:
            assert (await sh(box, step.command)).success, step.command

    assert not any("apt-get" in step.command for step in made)
    assert (await sh(box, "check.sh")).stdout.strip() == "2"
    assert (await sh(box, "cat notes.txt; ls -d out; report.sh")).stdout == "on paper\nout\nreport\n"
    assert (await sh(box, "stat -c %a /usr/local/bin/check.sh")).stdout.strip() == "555"
