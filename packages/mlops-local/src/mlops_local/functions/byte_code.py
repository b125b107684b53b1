"""Reuses byte code of installed modules for identical modules in a function's zip.

A function's zip is unpacked for each of its processes; compiling its modules each time took a third of a cold start.
"""

import os
import sys
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path
from types import CodeType
from typing import Any


def share(folder: str) -> None:
    """Let this process import modules below a folder without compiling those that are also installed.

    Args:
        folder: Folder with a function's unpacked zip.
    """

    class Loader(SourceFileLoader):
        """Loads modules of the folder."""

        def get_code(self, fullname: str) -> CodeType | None:
            """Return the byte code of the installed file of the same name if its content is identical."""
            name, content = self.path.removeprefix(folder).lstrip(os.sep), self.get_data(self.path)
            for place in sys.path:
                file = f"{place}{os.sep}{name}"
                if file != self.path and _is_same(file, content):
                    code = SourceFileLoader(fullname, file).get_code(fullname)
                    return None if code is None else _moved(code, self.path)
            return super().get_code(fullname)

        def set_data(self, *_: object, **__: object) -> None:
            """Write no byte code: the folder is deleted with this process."""

    finder = FileFinder.path_hook(
        (ExtensionFileLoader, EXTENSION_SUFFIXES), (Loader, SOURCE_SUFFIXES), (SourcelessFileLoader, BYTECODE_SUFFIXES)
    )

    def hook(path: str) -> Any:
        if not f"{path}{os.sep}".startswith(f"{folder}{os.sep}"):
            raise ImportError(path)
        return finder(path)

    sys.path_hooks.insert(0, hook)


def _is_same(file: str, content: bytes) -> bool:
    try:
        return Path(file).read_bytes() == content
    except OSError:
        return False


def _moved(code: CodeType, path: str) -> CodeType:
    """Return code whose tracebacks name the function's own file."""
    constants = tuple(_moved(each, path) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_filename=path, co_consts=constants)
