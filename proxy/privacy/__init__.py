"""What may be written of a message: redaction by place, by name and by form.

Pure: bodies and headers in, what may leave the memory out.
"""

__all__: list[str] = []
