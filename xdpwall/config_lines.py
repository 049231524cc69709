# SPDX-License-Identifier: Apache-2.0
"""Where in a TOML text each key stands. tomllib tells values, not places; messages need the line.

Works on text that tomllib has accepted, so it looks only for structure: comments, strings, brackets, keys.
"""

from __future__ import annotations

import tomllib

Path = tuple[str | int, ...]

_BARE_END = " \t=.]\r\n,}#"


def key_lines(text: str) -> dict[Path, int]:
    """The 1-based line of every key, table and list element.

    Args:
        text: valid TOML.

    Returns:
        The line by path; ``("allow", "prefixes", 2)`` is the third element of a list. For a table written as
        ``[a.b]``, both ``("a",)`` and ``("a", "b")`` are there, at the place where they first occur.
    """
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.lines: dict[Path, int] = {}
        self._array_sizes: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        while self._skip_blank():
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _peek(self, length: int = 1) -> str:
        return self.text[self.at : self.at + length]

    def _step(self, count: int = 1) -> None:
        self.line += self.text.count("\n", self.at, self.at + count)
        self.at += count

    def _skip_blank(self, *, also: str = "") -> bool:
        """Skip white space, line ends, comments and the characters in ``also``. Gives whether text is left."""
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif char in " \t\r\n" or char in also:
                self._step()
            else:
                return True
        return False

    def _note(self, path: Path) -> None:
        self.lines.setdefault(path, self.line)

    def _header(self) -> Path:
        is_array = self._peek(2) == "[["
        self._step(2 if is_array else 1)
        path: Path = ()
        for part in self._dotted():
            path = (*path, part)
            self._note(path)
            if path in self._array_sizes and not (is_array and self._peek() == "]"):
                path = (*path, self._array_sizes[path] - 1)
        self._step(2 if is_array else 1)
        if is_array:
            index = self._array_sizes.get(path, 0)
            self._array_sizes[path] = index + 1
            path = (*path, index)
            self._note(path)
        return path

    def _pair(self, table: Path) -> None:
        path = table
        for part in self._dotted():
            path = (*path, part)
            self._note(path)
        self._step()  # the equals sign
        self._skip_blank()
        self._value(path)

    def _dotted(self) -> list[str]:
        """Read ``a . "b c".d`` up to what ends it."""
        parts: list[str] = []
        while True:
            self._skip_blank()
            quote = self._peek()
            start = self.at
            if quote in {'"', "'"}:
                self._string()
                parts.append(str(tomllib.loads(f"k = {self.text[start : self.at]}")["k"]))
            else:
                while self._peek() and self._peek() not in _BARE_END:
                    self._step()
                parts.append(self.text[start : self.at])
            self._skip_blank()
            if self._peek() != ".":
                return parts
            self._step()

    def _value(self, path: Path) -> None:
        char = self._peek()
        if char in {'"', "'"}:
            self._string()
        elif char == "[":
            self._step()
            index = 0
            while self._skip_blank(also=",") and self._peek() != "]":
                self._note((*path, index))
                self._value((*path, index))
                index += 1
            self._step()
        elif char == "{":
            self._step()
            while self._skip_blank(also=",") and self._peek() != "}":
                self._pair(path)
            self._step()
        else:
            while self._peek() and self._peek() not in "\n,]}#":
                self._step()

    def _string(self) -> None:
        quote = self._peek()
        closing = quote * 3 if self._peek(3) == quote * 3 else quote
        self._step(len(closing))
        while self._peek(len(closing)) != closing:
            self._step(2 if quote == '"' and self._peek() == "\\" else 1)
        self._step(len(closing))
        # A multi-line string may end in up to two quotes of its own before the closing three.
        while len(closing) == 3 and self._peek() == quote:
            self._step()
