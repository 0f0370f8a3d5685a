"""Texts that every notebook can hold."""


def sound(text: str) -> str:
    r"""`text` without lone surrogates, which no message can hold: they become `\ud800`."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
