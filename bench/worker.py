"""Time cases on request, for `tools/bench_compare.py`: a request and an answer a line, in JSON.

``{"load": ID}`` builds and warms a case up and answers ``{"calls": N}``; ``{"round": N}`` calls it
N times and answers ``{"seconds": [...]}``; what fails answers ``{"error": TEXT}``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any


def answers() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function from requests to answers."""
    from cases import CASES
    from measure import Rounds, Work

    by_id = {case.id: case for case in CASES}
    loaded: list[Work] = []

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if "load" in request:
            case = by_id[request["load"]]
            loaded[:] = [case.build().work]
            return {"calls": Rounds(loaded).calls[0]}
        times = []
        for _ in range(request["round"]):
            loaded[0].ready()
            times.append(loaded[0].once())
        return {"seconds": times}

    return answer


def main() -> None:
    """Answer until there are no more requests."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else prints must not come between
    answer = None
    for line in sys.stdin:
        try:
            answer = answer or answers()
            reply = answer(json.loads(line))
        except Exception as error:  # noqa: BLE001  an older revision may lack what a case needs
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
