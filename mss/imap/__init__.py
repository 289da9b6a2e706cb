"""The IMAP door (RFC 3501 and the extensions that `connection.capabilities` announces)."""
