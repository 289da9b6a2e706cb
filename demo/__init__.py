"""The demonstration: three operators on loopback, one letter and its answer, and the refusals.

It is a user of mss like any other: it speaks SMTP, IMAP and HTTP to real servers, and looks into their stores only to
prove what happened. Nothing in `mss/` knows it.
"""
