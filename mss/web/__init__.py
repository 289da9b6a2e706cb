"""What the web doors share: serving, the error map, sessions, forgery checks, forms, pages in two languages.

It has no page of its own and knows no room's data.

Rules:
1. A page works without scripts: the policy forbids them all. A room loosens it for one answer at most.
2. An answer is never kept by a cache unless it says so itself.
3. What changes something is a POST with the session's token that no other site can have sent.
4. Outside sees a status, a constant sentence and an incident number; the log has the rest.
"""

from mss.web.serving import Served, serve

__all__ = ["Served", "serve"]
