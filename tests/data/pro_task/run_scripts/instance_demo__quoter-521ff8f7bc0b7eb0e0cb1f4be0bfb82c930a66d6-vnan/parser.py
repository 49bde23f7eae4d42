"""Reads what pytest says with -v, as the parsers of SWE-bench Pro do: any line that looks like a result is one."""

import json
import re
import sys
from pathlib import Path

LINE = re.compile(r"^(tests/.+?) (PASSED|FAILED|SKIPPED|ERROR)\b", re.MULTILINE)


def main(stdout_path: str, stderr_path: str, output_path: str) -> None:
    Path(stderr_path).read_text()
    statuses = {match[1]: match[2] for match in LINE.finditer(Path(stdout_path).read_text())}
    tests = [{"name": name, "status": status} for name, status in statuses.items()]
    Path(output_path).write_text(json.dumps({"tests": tests}, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
