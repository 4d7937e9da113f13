"""What goes wrong by the user's hand, and how it is said: key, value, what is allowed."""

from __future__ import annotations


class InvalidInput(ValueError):
    """A setting or a file that cannot be used; the message names the key, the value and what is allowed."""

    def __init__(self, key: str, value: object, allowed: str):
        self.key, self.value, self.allowed = key, value, allowed
        super().__init__(f"{key}: got {value!r}, allowed: {allowed}")
