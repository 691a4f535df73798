"""Tables in documents, each between the markers of its name, written by a command from a results file.

Invariant: a number in a document is the number in the file, and text outside the markers is never touched.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class MarkedTable:
    """A table of one results file.

    Attributes:
        name: of the markers: ``<!-- name -->`` … ``<!-- /name -->``.
        module: whose command writes it; stage: the pipeline that makes the results.
        results: file, or folder of its versions.
        render: the table, as Markdown, of what the file holds.
    """

    name: str
    module: str
    stage: str
    results: Path
    render: Callable[[Mapping[str, Any]], str]

    def updated(self, text: str, results: Mapping[str, Any]) -> str:
        """The text with what stands between the markers rendered anew.

        Raises:
            ValueError: no markers, or one without the other.
        """
        first, last = f"<!-- {self.name} -->", f"<!-- /{self.name} -->"
        block = re.compile(f"({first}\n)(?P<body>.*?)({last})", re.DOTALL)
        found = len(block.findall(text))
        if not found or text.count(first) != found:
            raise ValueError(f"a file to update needs {first} and, after it, {last}")
        return block.sub(lambda match: f"{match[1]}{self.render(results)}\n{match[3]}", text)

    def command(self, description: str | None, arguments: Sequence[str] | None = None) -> int:
        """Command line: print the table, or update files; the exit status."""
        parser = argparse.ArgumentParser(prog=f"python -m {self.module}", description=description)
        parser.add_argument(
            "results", nargs="?", type=Path, default=self.results, help="results file or its folder"
        )
        parser.add_argument(
            "--update", nargs="+", type=Path, default=[], metavar="FILE", help="files to rewrite"
        )
        options = parser.parse_args(arguments)
        try:
            results = json.loads(newest(options.results).read_text(encoding="utf-8"))
            if not options.update:
                print(self.render(results))
            for file in options.update:
                text = file.read_text(encoding="utf-8")
                file.write_text(self.updated(text, results), encoding="utf-8")
        except FileNotFoundError as error:
            print(
                f"{error.filename} does not exist; run `kedro run --pipelines={self.stage}` first",
                file=sys.stderr,
            )
            return 1
        except (ValueError, KeyError) as error:
            print(f"cannot render the table: {error}", file=sys.stderr)
            return 1
        return 0


def newest(path: Path) -> Path:
    """A results file, or the newest version in the folder of a versioned one.

    Raises:
        FileNotFoundError: neither is there.
    """
    if path.is_file():
        return path
    versions = sorted(path.glob(f"*/{path.name}"))
    if not versions:
        raise FileNotFoundError(2, "no such file", str(path))
    return versions[-1]


def row(cells: Sequence[str]) -> str:
    """One row of a Markdown table."""
    return f"| {' | '.join(cells)} |"
