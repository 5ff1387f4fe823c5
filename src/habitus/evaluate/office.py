"""The office of a simulated company: mail, files and a calendar that change under the assistant's hands."""

from __future__ import annotations

from email.utils import getaddresses
from posixpath import normpath
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
    office.set("letters", [])
    office.set("sent", [])
    office.set("address", given["address"])
    for mail in inbox:
        set_clock(mail["sent"])
        deliver(mail["from"], mail["subject"], mail["body"])
    office.set("files", dict(given["files"]) | dict(scenario.get("files", {})))
    office.set("calendar", [dict(one) for one in given["calendar"]])


def set_clock(now: str) -> None:
    """Say what time it is in the office: all mail from now on has this date."""
    store().set("now", now)


def clock() -> str:
    """Return what time it is in the office."""
    return str(store().get("now"))


def deliver(sender: str, subject: str, body: str, *, to: str | None = None) -> None:
    """Put a mail into the inbox; `to` is whom it is addressed to where the assistant only gets a copy."""
    mails, own = store().get("mail"), store().get("address")
    letter = {
        "from": sender, "to": [to or own], "cc": [own] if to else [], "sent": store().get("now"), "subject": subject,
        "body": body,
    }  # fmt: skip
    store().set("mail", [*mails, letter | {"id": f"m{len(mails) + 1}", "read": False, "deleted": False}])
    store().set("letters", [*store().get("letters"), letter])


def unread() -> int:
    """Return how many mails have not been read."""
    return sum(not mail["read"] for mail in _inbox())


def thread(address: str) -> list[dict[str, Any]]:
    """Return all mail between one person and the assistant so far, in its order."""
    return [one for one in store().get("letters") if address in [one["from"], *one["to"]]]


def addresses(text: str) -> list[str]:
    """Return the addresses in a line of recipients, in lower case, whatever names stand beside them."""
    return [one.lower() for _, one in getaddresses([text.replace(";", ",")]) if "@" in one]


def place(path: str) -> str:
    """Return a path as the office files it: without detours, and from its root."""
    return normpath(path.strip().lstrip("/"))


def waiting() -> list[dict[str, Any]]:
    """Return the mails that were sent and not yet answered; each is returned once."""
    sent = store().get("sent")
    store().set("sent", [one | {"answered": True} for one in sent])
    return [one for one in sent if not one["answered"]]


def tools() -> Sequence[Tool]:
    """Return what the assistant can do in the office."""
    return [
        list_mail(), read_mail(), send_mail(), forward_mail(), delete_mail(), list_files(), read_file(), write_file(),
        list_calendar(), add_event(), delete_event(),
    ]  # fmt: skip


@tool
def list_mail() -> Tool:
    """List the inbox."""

    async def execute() -> str:
        """List the mails in the inbox, with date, sender, subject and whether they were read."""
        return "\n".join(
            f"{one['id']}{' ' if one['read'] else ' [new] '}{one['sent']}, {one['from']}: {one['subject']}"
            for one in _inbox()
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
        _mark(mail_id, "read")
        copied = f"\nCc: {', '.join(mail['cc'])}" if mail["cc"] else ""
        head = f"From: {mail['from']}\nTo: {', '.join(mail['to'])}{copied}\nSent: {mail['sent']}"
        return f"{head}\nSubject: {mail['subject']}\n\n{mail['body']}"

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
        quoted = f"From: {mail['from']}\nSent: {mail['sent']}\n\n{mail['body']}".replace("\n", "\n> ")
        return _send(to, f"Fwd: {mail['subject']}", f"{note}\n\n> {quoted}".strip())

    return execute


@tool
def delete_mail() -> Tool:
    """Delete a mail."""

    async def execute(mail_id: str) -> str:
        """Delete a mail of the inbox, read or unread.

        Args:
            mail_id: Its id in the inbox, such as m3.

        """
        _mail(mail_id)
        _mark(mail_id, "deleted")
        return f"{mail_id} deleted."

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
        if place(path) not in files:
            raise ToolError(f"There is no file {path}.")
        return str(files[place(path)])

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
        if not place(path).startswith("files/"):
            raise ToolError("Paths begin with files/.")
        store().set("files", dict(store().get("files")) | {place(path): text})
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
        number = 1 + max((int(one["id"].partition("-")[2]) for one in events), default=0)
        events.append({"id": f"ev-{number}", "when": when, "title": title, "with": attendees})
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


def _inbox() -> list[dict[str, Any]]:
    return [one for one in store().get("mail") if not one["deleted"]]


def _mark(mail_id: str, what: str) -> None:
    """Note of a mail that it was read or deleted."""
    store().set("mail", [one | {what: True} if one["id"] == mail_id else one for one in store().get("mail")])


def _mail(mail_id: str) -> dict[str, Any]:
    found = next((one for one in _inbox() if one["id"] == mail_id), None)
    if found is None:
        raise ToolError(f"There is no mail {mail_id} in the inbox.")
    return found


def _send(to: str, subject: str, body: str) -> str:
    people = addresses(to)
    if not people:
        raise ToolError(f"'{to}' is no address.")
    letter = {
        "from": store().get("address"), "to": people, "cc": [], "sent": store().get("now"), "subject": subject,
        "body": body,
    }  # fmt: skip
    store().set("letters", [*store().get("letters"), letter])
    store().set("sent", [*store().get("sent"), letter | {"answered": False}])
    return f"Sent to {', '.join(people)}."
