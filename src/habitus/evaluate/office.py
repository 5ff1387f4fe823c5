"""The office of a simulated company: mail, files and a calendar that change under the assistant's hands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inspect_ai.tool import ToolError, tool
from inspect_ai.util import store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inspect_ai.tool import Tool


def furnish(given: Mapping[str, Any], scenario: Mapping[str, Any]) -> None:
    """Put a company's mail, files and calendar into the sample's store."""
    inbox = [*given["mail"], *(chore["mail"] for chore in given["chores"]), *scenario["mail"]]
    office = store()
    office.set("mail", [])
    for mail in inbox:
        deliver(mail["from"], mail["subject"], mail["body"])
    office.set("files", dict(given["files"]) | dict(scenario.get("files", {})))
    office.set("calendar", [dict(one) for one in given["calendar"]])
    office.set("sent", [])
    office.set("domain", given["domain"])


def deliver(sender: str, subject: str, body: str) -> None:
    """Put a mail into the inbox."""
    mails = list(store().get("mail"))
    mails.append({"id": f"m{len(mails) + 1}", "from": sender, "subject": subject, "body": body, "read": False})
    store().set("mail", mails)


def unread() -> int:
    """Return how many mails have not been read."""
    return sum(not mail["read"] for mail in store().get("mail"))


def waiting() -> list[dict[str, Any]]:
    """Return the mails that were sent and not yet answered; each is returned once."""
    sent = store().get("sent")
    store().set("sent", [one | {"answered": True} for one in sent])
    return [one for one in sent if not one["answered"]]


def tools() -> Sequence[Tool]:
    """Return what the assistant can do in the office."""
    return [
        list_mail(), read_mail(), send_mail(), forward_mail(), list_files(), read_file(), write_file(),
        list_calendar(), add_event(), delete_event(),
    ]  # fmt: skip


@tool
def list_mail() -> Tool:
    """List the inbox."""

    async def execute() -> str:
        """List the mails in the inbox, with sender, subject and whether they were read."""
        return "\n".join(
            f"{one['id']}{' ' if one['read'] else ' [new] '}{one['from']}: {one['subject']}"
            for one in store().get("mail")
        )

    return execute


@tool
def read_mail() -> Tool:
    """Read a mail."""

    async def execute(mail_id: str) -> str:
        """Read one mail.

        Args:
            mail_id: Its id in the inbox, such as m3.

        """
        mail = _mail(mail_id)
        store().set("mail", [one | {"read": one["read"] or one["id"] == mail_id} for one in store().get("mail")])
        return f"From: {mail['from']}\nSubject: {mail['subject']}\n\n{mail['body']}"

    return execute


@tool
def send_mail() -> Tool:
    """Send a mail."""

    async def execute(to: str, subject: str, body: str) -> str:
        """Send a mail.

        Args:
            to: The address of the person, or several with commas.
            subject: The subject line.
            body: The text.

        """
        return _send(to, subject, body)

    return execute


@tool
def forward_mail() -> Tool:
    """Forward a mail."""

    async def execute(mail_id: str, to: str, note: str = "") -> str:
        """Forward a mail of the inbox.

        Args:
            mail_id: Its id in the inbox, such as m3.
            to: The address of the person, or several with commas.
            note: A line of your own above it.

        """
        mail = _mail(mail_id)
        return _send(to, f"Fwd: {mail['subject']}", f"{note}\n\n> From: {mail['from']}\n> {mail['body']}".strip())

    return execute


@tool
def list_files() -> Tool:
    """List the files."""

    async def execute() -> str:
        """List the files that there are."""
        return "\n".join(sorted(store().get("files")))

    return execute


@tool
def read_file() -> Tool:
    """Read a file."""

    async def execute(path: str) -> str:
        """Read a file.

        Args:
            path: Its path, such as files/ops/week22.csv.

        """
        files = store().get("files")
        if path not in files:
            raise ToolError(f"There is no file {path}.")
        return str(files[path])

    return execute


@tool
def write_file() -> Tool:
    """Write a file."""

    async def execute(path: str, text: str) -> str:
        """Write a file, in place of what was there.

        Args:
            path: Its path, beginning with files/.
            text: The whole text.

        """
        if not path.startswith("files/"):
            raise ToolError("Paths begin with files/.")
        store().set("files", dict(store().get("files")) | {path: text})
        return f"{path} written."

    return execute


@tool
def list_calendar() -> Tool:
    """List the calendar."""

    async def execute() -> str:
        """List the events in the calendar."""
        return "\n".join(
            f"{one['id']} {one['when']}: {one['title']} (with {one['with']})" for one in store().get("calendar")
        )

    return execute


@tool
def add_event() -> Tool:
    """Add an event."""

    async def execute(when: str, title: str, attendees: str) -> str:
        """Put an event into the calendar.

        Args:
            when: Day and time.
            title: What it is.
            attendees: Who takes part.

        """
        events = list(store().get("calendar"))
        events.append({"id": f"ev-{len(events) + 1}", "when": when, "title": title, "with": attendees})
        store().set("calendar", events)
        return f"{events[-1]['id']} added."

    return execute


@tool
def delete_event() -> Tool:
    """Delete an event."""

    async def execute(event_id: str) -> str:
        """Take an event out of the calendar.

        Args:
            event_id: Its id, such as ev-2.

        """
        events = store().get("calendar")
        if all(one["id"] != event_id for one in events):
            raise ToolError(f"There is no event {event_id}.")
        store().set("calendar", [one for one in events if one["id"] != event_id])
        return f"{event_id} deleted."

    return execute


def _mail(mail_id: str) -> dict[str, Any]:
    found = next((one for one in store().get("mail") if one["id"] == mail_id), None)
    if found is None:
        raise ToolError(f"There is no mail {mail_id} in the inbox.")
    return found


def _send(to: str, subject: str, body: str) -> str:
    addresses = [one.strip() for one in to.split(",") if "@" in one]
    if not addresses:
        raise ToolError(f"'{to}' is no address.")
    store().set("sent", [*store().get("sent"), {"to": addresses, "subject": subject, "body": body, "answered": False}])
    return f"Sent to {', '.join(addresses)}."
