"""The grader's own process: it imports swebench's grading once, and judges logs for as long as the run lasts.

Run as a program; requests and answers are JSON, a line each. The import takes 2 s and 170 MB, which no trial
should wait for and no other process should carry.
"""

import json
import os
import sys
from typing import Any


def main() -> None:
    """Answer requests from stdin until it ends."""
    # Libraries print; the answers' stream is ours alone.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from swebench.harness.grading import get_eval_report  # pyright: ignore[reportUnknownVariableType]
    from swebench.harness.utils import make_test_spec  # pyright: ignore[reportUnknownVariableType]

    def answer(request: dict[str, Any]) -> Any:
        specification = make_test_spec(request["row"])
        if request["operation"] == "script":
            return specification.eval_script
        prediction = {
            "instance_id": specification.instance_id,
            "model_name_or_path": "unbroken",
            "model_patch": request["patch"],
        }
        report: dict[str, Any] = get_eval_report(specification, prediction, request["log"], include_tests_status=True)
        return report[specification.instance_id]

    for line in sys.stdin:
        try:
            response = {"answer": answer(json.loads(line))}
        except Exception as error:  # the boundary of the process: the other side raises it
            response = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(response) + "\n")
        answers.flush()
