"""The control room: publisher, file watch, journal and the admin address.

Everything that changes what the proxy does goes through :class:`proxy.control.publisher.Publisher`, the only writer.
"""

__all__: list[str] = []
