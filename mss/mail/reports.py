"""Reports about letters, in one place for those who send and read them: delivery (RFC 3464), disposition (RFC 8098)."""

from __future__ import annotations

from mss.mail.dsn import Action as Action
from mss.mail.dsn import DeliveryReport as DeliveryReport
from mss.mail.dsn import RecipientReport as RecipientReport
from mss.mail.dsn import RecipientStatus as RecipientStatus
from mss.mail.dsn import dsn as dsn
from mss.mail.dsn import read_dsn as read_dsn
from mss.mail.mdn import Disposition as Disposition
from mss.mail.mdn import DispositionReport as DispositionReport
from mss.mail.mdn import ErrorCode as ErrorCode
from mss.mail.mdn import mdn as mdn
from mss.mail.mdn import notice as notice
from mss.mail.mdn import read_mdn as read_mdn
from mss.mail.mdn import requested_by as requested_by
from mss.mail.report_parts import Frame as Frame
from mss.mail.report_texts import SUBJECT_DELAYED as SUBJECT_DELAYED
from mss.mail.report_texts import SUBJECT_DELIVERED as SUBJECT_DELIVERED
from mss.mail.report_texts import SUBJECT_ERROR_PREFIX as SUBJECT_ERROR_PREFIX
from mss.mail.report_texts import SUBJECT_FAILED as SUBJECT_FAILED
from mss.mail.report_texts import SUBJECT_RELAYED as SUBJECT_RELAYED
from mss.mail.report_texts import SUBJECT_TOO_LARGE as SUBJECT_TOO_LARGE
