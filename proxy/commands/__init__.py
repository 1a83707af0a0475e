"""What the words behind ``modelproxy`` do. One file each; heavy imports wait until a command runs."""

__all__: list[str] = []
