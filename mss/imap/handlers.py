"""Which handler does which command."""

from __future__ import annotations

from typing import assert_never

from mss.imap import appending, changing, entry, folders, listing, metadata, reading, rights, searching, waiting
from mss.imap import commands as c
from mss.imap.session import Answer, Session


async def handle(session: Session, request: c.Request) -> Answer | None:
    """Do a command that its state allows; None when it was answered already."""
    command = request.command
    match command:
        case c.Capability():
            return await entry.capability(session, command)
        case c.Noop() | c.Check():
            return await entry.noop(session, command)
        case c.Id():
            return await entry.identify(session, command)
        case c.Logout():
            return await entry.logout(session, command)
        case c.StartTls():
            return await entry.start_tls(session, request.tag)
        case c.Login():
            return await entry.login(session, command)
        case c.Authenticate():
            return await entry.authenticate(session, command)
        case _:
            return await _handle_known(session, request.tag, command)


_AfterLogin = (
    c.Enable | c.Namespace | c.List | c.Lsub | c.Subscribe | c.Create | c.Delete | c.Rename | c.Status | c.Select
    | c.Append | c.Idle | c.Close | c.Expunge | c.Fetch | c.Store | c.Copy | c.Search | c.Replace | c.GetQuota
    | c.GetQuotaRoot | c.GetAcl | c.MyRights | c.ListRights | c.SetAcl | c.Sort | c.Thread
    | c.GetMetadata | c.SetMetadata
)  # fmt: skip


async def _handle_known(session: Session, tag: str, command: _AfterLogin) -> Answer:
    match command:
        case c.Fetch():
            return await reading.fetch_letters(session, command)
        case c.Search():
            return await searching.search(session, command, tag)
        case c.Sort():
            return await searching.sort(session, command, tag)
        case c.Thread():
            return await searching.thread(session, command)
        case c.Store():
            return await changing.store(session, command)
        case c.Copy():
            return await changing.copy(session, command)
        case c.Expunge():
            return await changing.expunge(session, command)
        case c.Append():
            return await appending.append(session, command)
        case c.Replace():
            return await appending.replace(session, command)
        case c.Idle():
            return await waiting.idle(session, command)
        case _:
            return await _handle_mailbox(session, command)


_OnMailboxes = (
    c.Enable | c.Namespace | c.List | c.Lsub | c.Subscribe | c.Create | c.Delete | c.Rename | c.Status | c.Select
    | c.Close | c.GetQuota | c.GetQuotaRoot | c.GetAcl | c.MyRights | c.ListRights | c.SetAcl
    | c.GetMetadata | c.SetMetadata
)  # fmt: skip
_AboutMailboxes = (
    c.GetQuota | c.GetQuotaRoot | c.GetAcl | c.MyRights | c.ListRights | c.SetAcl | c.GetMetadata | c.SetMetadata
)  # fmt: skip


async def _handle_mailbox(session: Session, command: _OnMailboxes) -> Answer:
    match command:
        case c.Select():
            return await folders.select(session, command)
        case c.Close():
            return await folders.close(session, command)
        case c.Status():
            return await listing.status(session, command)
        case c.List():
            return await listing.list_mailboxes(session, command)
        case c.Lsub():
            return await listing.list_subscribed(session, command)
        case c.Namespace():
            return await listing.namespace(session, command)
        case c.Enable():
            return await folders.enable(session, command)
        case c.Subscribe():
            return await folders.subscribe(session, command)
        case c.Create():
            return await folders.create(session, command)
        case c.Delete():
            return await folders.delete(session, command)
        case c.Rename():
            return await folders.rename(session, command)
        case _:
            return await _handle_about(session, command)


async def _handle_about(session: Session, command: _AboutMailboxes) -> Answer:
    match command:
        case c.GetQuota():
            return await rights.get_quota(session, command)
        case c.GetQuotaRoot():
            return await rights.get_quota_root(session, command)
        case c.GetAcl():
            return await rights.get_acl(session, command)
        case c.MyRights():
            return await rights.my_rights(session, command)
        case c.ListRights():
            return await rights.list_rights(session, command)
        case c.SetAcl():
            return await rights.set_acl(session, command)
        case c.GetMetadata():
            return await metadata.get_metadata(session, command)
        case c.SetMetadata():
            return await metadata.set_metadata(session, command)
        case _ as never:
            assert_never(never)
