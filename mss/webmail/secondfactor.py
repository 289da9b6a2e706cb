"""The second factor: time-based one-time codes (RFC 6238), their picture for a phone, and recovery codes.

It keeps nothing: secrets and hashes go to the store. The only module that names pyotp and segno.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import re
import secrets
from datetime import datetime
from typing import Final

import pyotp
import segno

from mss.model.secret import Secret

STEP_S: Final = 30
RECOVERY_CODES: Final = 8
# Without 0, 1, I, L, O and U: nobody mistakes one for another, and no word appears.
_ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
_GROUPS: Final = 3
_GROUP: Final = 4
_SECRET = re.compile(r"[A-Z2-7]{32}\Z", re.ASCII)
_CODE = re.compile(r"[0-9]{6}\Z", re.ASCII)


def new_secret() -> Secret:
    """Return a new secret of 160 bits, in base32."""
    return Secret.of(pyotp.random_base32(32))


def grouped(secret: Secret) -> str:
    """Return the secret in groups of four, for typing."""
    text = secret.text()
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


def read_secret(typed: str) -> Secret | None:
    """Return a secret that a page of ours gave out, in groups or not; None for anything else."""
    text = "".join(typed.split())
    return Secret.of(text) if _SECRET.match(text) else None


def uri(secret: Secret, account: str, issuer: str) -> str:
    """Return the otpauth address that phones read from the picture."""
    return pyotp.TOTP(secret.text()).provisioning_uri(name=account, issuer_name=issuer)


def picture(address: str) -> str:
    """Return a QR code as an SVG element without styles or ids; dark on light whatever the page's colours."""
    out = io.BytesIO()
    looks = {"dark": "#000", "light": "#fff", "scale": 5, "border": 4, "svgclass": "qr", "lineclass": None}
    segno.make(address, error="m", micro=False).save(out, kind="svg", xmldecl=False, nl=False, omitsize=True, **looks)
    return out.getvalue().decode()


def step_of(secret: Secret, code: str, now: datetime, last_step: int) -> int | None:
    """Return the time step whose code this is: the present one or a neighbour, later than the last one used."""
    digits = "".join(code.split())
    if not _CODE.match(digits):
        return None
    totp, present = pyotp.TOTP(secret.text()), int(now.timestamp()) // STEP_S
    # All three are always compared: the time taken says nothing.
    matching = [
        step for step in (present - 1, present, present + 1) if hmac.compare_digest(totp.generate_otp(step), digits)
    ]
    return next((step for step in matching if step > last_step), None)


def new_recovery_codes() -> tuple[str, ...]:
    """Return new recovery codes: twelve characters each (58 bits), in three groups."""
    return tuple("-".join(_random_group() for _ in range(_GROUPS)) for _ in range(RECOVERY_CODES))


def _random_group() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_GROUP))


def recovery_hash(code: str, account_id: int) -> str:
    """Return what the store keeps of a recovery code, however it was typed.

    The codes are random and burn after one use; a plain hash bound to the account is enough.
    """
    kept = "".join(c for c in code.upper() if c in _ALPHABET)
    return hashlib.sha256(f"{account_id}:{kept}".encode()).hexdigest()
