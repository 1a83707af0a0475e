"""``python -m proxy`` is the same as ``modelproxy``."""

from proxy.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main(prog_name="modelproxy")
