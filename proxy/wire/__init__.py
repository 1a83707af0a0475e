"""The law of HTTP/1.1 as functions of values: framing, hop-by-hop, forwarding, local replies, trace context.

No socket, no loop, no clock. Header names are lower-case ``bytes`` wherever they are compared; the lines that are
forwarded keep the sender's case and order.
"""

__all__: list[str] = []
