"""What all tests share: law tests try the same examples on every machine, however slow it is."""

from hypothesis import settings

settings.register_profile("modelproxy", deadline=None, derandomize=True)
settings.load_profile("modelproxy")
