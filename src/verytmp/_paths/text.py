"""The text of whole files, as bytes and back: what a TextIOWrapper does, and without one where that gives the same."""

from __future__ import annotations

import io

UTF_8 = ("utf-8", "UTF-8", "utf8")  # the names that are known without looking them up


def decoded(data: bytes, encoding: str, errors: str | None, newline: str | None) -> str:
    """A file's text. The arguments are the built-in `open`'s; *encoding* is what `io.text_encoding` returned."""
    if errors is None and newline is None and is_utf_8(encoding):  # 0.3 us instead of 2
        text = data.decode()
        return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    return io.TextIOWrapper(io.BytesIO(data), encoding, errors, newline).read()


def encoded(text: str, encoding: str, errors: str | None, newline: str | None) -> bytes:
    """A text's bytes in a file. The arguments are as for `decoded`. Raises `TypeError` for what is no string."""
    if not isinstance(text, str):
        raise TypeError(f"data must be str, not {type(text).__name__}")
    if errors is None and newline is None and type(text) is str and is_utf_8(encoding):
        return text.encode()
    file = io.BytesIO()
    wrapper = io.TextIOWrapper(file, encoding, errors, newline)
    wrapper.write(text)
    wrapper.flush()
    return file.getvalue()


def is_utf_8(encoding: str) -> bool:
    """Whether a text file with this encoding, which `io.text_encoding` returned, is plainly UTF-8."""
    if encoding == "locale":
        from _locale import getencoding  # locale's own; that takes 1 ms to import

        encoding = getencoding()
    return encoding in UTF_8
