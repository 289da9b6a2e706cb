"""The SMTP doors: MX, submission and relay (RFC 5321). They know nothing of the other doors."""
