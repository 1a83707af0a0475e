"""The life of a request::

    QUEUED ──begin──► UNIT ──body complete──► FORWARDING ──response complete, fault, client left──► DONE
              │                                  ▲
              └──── unit found in the head ──────┘

``QUEUED`` holds pipelined requests whose predecessor is not answered yet, ``UNIT`` those whose unit is in the body. In
``DONE`` the rest of a request body that nobody wants any more is read and thrown away.
"""

__all__ = ["CLIENT_LEFT", "DONE", "FORWARDING", "QUEUED", "UNIT"]

QUEUED, UNIT, FORWARDING, DONE = range(4)

CLIENT_LEFT = 499
"""Status under which a request is counted whose client left before the answer began (nginx's convention)."""
