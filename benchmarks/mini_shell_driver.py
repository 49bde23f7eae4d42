# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false
"""Times commands of mini-swe-agent's Docker environment, in its own Python: IMAGE CONTAINERS COMMANDS.

Prints milliseconds of a command alone, and of one among all that run at once in CONTAINERS containers.
"""

import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from minisweagent.environments.docker import DockerEnvironment


def main(image: str, containers: str, commands: str) -> None:
    """Start them, time them, and remove them at once."""
    with ThreadPoolExecutor(int(containers)) as pool:
        environments = list(pool.map(lambda _: DockerEnvironment(image=image, cwd="/"), range(int(containers))))
        try:
            alone = statistics.median(_time(environments[0], 1) for _ in range(11))
            started = time.perf_counter()
            list(pool.map(lambda each: _time(each, int(commands)), environments))
            crowd = (time.perf_counter() - started) / (len(environments) * int(commands))
        finally:
            identifiers = [each.container_id for each in environments]
            subprocess.run(["docker", "rm", "--force", *identifiers], stdout=subprocess.DEVNULL, check=True)
            for environment in environments:
                environment.container_id = None
    print(alone * 1000, crowd * 1000)


def _time(environment: DockerEnvironment, commands: int) -> float:
    started = time.perf_counter()
    for _ in range(commands):
        environment.execute({"command": "true"})
    return time.perf_counter() - started


if __name__ == "__main__":
    main(*sys.argv[1:])
