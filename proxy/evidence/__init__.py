"""What workers leave behind for decisions: integers per epoch of constant shares, and who was counted already.

Nothing here knows what the numbers mean: :mod:`layout` says where each lives, :mod:`blocks` and :mod:`units` are the
files they live in.
"""

__all__: list[str] = []
