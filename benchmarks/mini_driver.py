# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
"""Runs mini-swe-agent for a number of steps, in its own environment: URL IMAGE STEPS TRAJECTORY.

Everything is as its `config/benchmarks/swebench.yaml` has it, but for the model, the image and the limits.
"""

import subprocess
import sys
from pathlib import Path

from minisweagent.agents.default import DefaultAgent
from minisweagent.config import get_config_from_spec
from minisweagent.environments.docker import DockerEnvironment
from minisweagent.models.litellm_model import LitellmModel


def main(url: str, image: str, steps: str, trajectory: str) -> None:
    """Run it, and remove its container at once instead of letting it be stopped in the background."""
    config = get_config_from_spec("swebench.yaml")
    del config["environment"]["environment_class"]
    config["model"] |= {
        "model_name": "openai/scripted",
        "model_kwargs": {**config["model"]["model_kwargs"], "api_base": url},
    }
    config["agent"] |= {"step_limit": int(steps), "cost_limit": 0, "output_path": Path(trajectory)}
    environment = DockerEnvironment(image=image, container_timeout="20m", **config["environment"])
    try:
        DefaultAgent(LitellmModel(**config["model"]), environment, **config["agent"]).run("Mend it.")
    finally:
        subprocess.run(["docker", "rm", "--force", environment.container_id], stdout=subprocess.DEVNULL, check=True)
        environment.container_id = None


if __name__ == "__main__":
    main(*sys.argv[1:])
