"""Tasks in Harbor's format, as directories: what is read, what is refused, and with which words."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner, Result

from evals.terminal_bench.dataset_directory import NoTasksError, find_tasks
from evals.terminal_bench.task_directory import InvalidTaskError, read_task, without_canary
from evals.terminal_bench.task_file import TaskFile, TaskFileError, parse_task_file, unknown_keys
from unbroken.commands.evals import application

WriteTask = Callable[..., Path]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
TEN_PLACES = {
    "01-no-settings": "task.toml",
    "02-no-toml": "task.toml",
    "03-limit": "task.toml, agent.timeout_sec",
    "04-windows": "task.toml, environment.os",
    "05-tpu": "task.toml, environment.tpu",
    "06-no-image": "environment/",
    "07-no-instruction": "instruction.md",
    "08-no-tests": "tests/test.sh",
    "09-step": "steps/a/",
    "10-link": "solution",
}
"""Ten broken tasks, each with the file and the key that it is refused for."""


@pytest.fixture
def write_task(tmp_path: Path) -> WriteTask:
    """Write a task: a name, the text of its task.toml, and what differs from a whole one (None: not there)."""

    def write(name: str, settings: str | None = "", **changes: str | None) -> Path:
        files = {
            "task.toml": settings,
            "instruction.md": "Make it work.\n",
            "environment/Dockerfile": "FROM debian\n",
            "tests/test.sh": "exit 0\n",
            **changes,
        }
        for path, text in files.items():
            if text is not None:
                (tmp_path / "tasks" / name / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / "tasks" / name / path).write_text(text, encoding="utf-8")
        return tmp_path / "tasks" / name

    return write


def check(*arguments: str | Path) -> Result:
    return CliRunner().invoke(application, ["tasks", "check", *map(str, arguments)])


def reasons(path: Path) -> list[tuple[str, str]]:
    with pytest.raises(InvalidTaskError) as refused:
        read_task(path)
    return [(problem.file, problem.key) for problem in refused.value.problems]


class TestWhatIsRead:
    def test_every_field_of_the_newest_schema(self):
        file = parse_task_file(
            """
            schema_version = "1.4"
            source = "our-bench"
            artifacts = ["/app/out", {source = "/var/log/x", destination = "x", exclude = ["*.tmp"], service = "db"}]
            multi_step_reward_strategy = "final"
            metadata = {difficulty = "hard", tags = ["a"]}
            [task]
            name = "org/name"
            authors = [{name = "A", email = "a@example.org"}]
            keywords = ["k"]
            [agent]
            timeout_sec = 900
            user = 1000
            network_mode = "allowlist"
            allowed_hosts = ["example.org", "*.example.org", "10.0.0.0/8", "::1"]
            [verifier]
            timeout_sec = 120.5
            env = {KEY = "${KEY:-none}"}
            user = "root"
            network_mode = "no-network"
            environment_mode = "separate"
            environment = {docker_image = "tests:1"}
            collect = [{command = "dump", service = "db", timeout_sec = 5, user = "postgres"}]
            [solution]
            env = {A = "1"}
            [environment]
            docker_image = "image:1"
            build_timeout_sec = 1200.0
            os = "Linux"
            workdir = "/app"
            cpus = 2
            memory_mb = 4096
            storage_mb = 10240
            gpus = 0
            gpu_types = ["H100"]
            network_mode = "public"
            env = {B = "2"}
            skills_dir = "/skills"
            healthcheck = {command = "true", interval_sec = 1, retries = 9}
            mcp_servers = [{name = "m", transport = "stdio", command = "serve", args = ["-x"]}]
            [[steps]]
            name = "first"
            min_reward = {reward = 0.5}
            artifacts = ["/a"]
            agent = {timeout_sec = 5}
            verifier = {timeout_sec = 6}
            healthcheck = {command = "true"}
            """
        )
        assert unknown_keys(file) == []
        assert file.agent.timeout_sec == 900
        assert file.agent.user == 1000
        assert file.verifier.mode == "separate"
        assert file.environment.os == "linux"
        assert [artifact.source for artifact in file.artifacts] == ["/app/out", "/var/log/x"]
        assert file.steps
        assert file.steps[0].min_reward == {"reward": 0.5}

    def test_defaults_set_no_limit_on_resources(self):
        file = parse_task_file("")
        assert (file.schema_version, file.agent.timeout_sec, file.verifier.timeout_sec) == ("1.4", None, 600)
        assert (file.environment.cpus, file.environment.memory_mb) == (None, None)
        assert (file.environment.baseline, file.verifier.mode) == ("public", "shared")

    def test_the_first_schema_has_the_limits_that_its_tasks_were_written_for(self):
        file = parse_task_file(
            'version = "1.0"\n[environment]\nmemory = "4G"\nstorage = "512K"\nallow_internet = false'
        )
        assert file.agent.timeout_sec == 600
        assert (file.environment.cpus, file.environment.memory_mb, file.environment.storage_mb) == (1, 4096, 1)
        assert file.environment.baseline == "no-network"
        assert unknown_keys(file) == []

    def test_what_the_network_mode_says_goes_before_the_older_key(self):
        file = parse_task_file('[environment]\nallow_internet = false\nnetwork_mode = "public"')
        assert file.environment.baseline == "public"

    def test_unknown_keys_are_named_wherever_they_stand(self):
        file = parse_task_file(
            "multi_step_reward_mode = 'mean'\n[agent]\ntimeout = 5\n[[steps]]\nname = 'a'\n"
            "verifier = {collect = [{command = 'x', shell = 'sh'}]}"
        )
        assert unknown_keys(file) == ["agent.timeout", "multi_step_reward_mode", "steps[0].verifier.collect[0].shell"]

    @pytest.mark.parametrize(
        ("said", "key"),
        [
            ("[agent]\ntimeout_sec = 0", "agent.timeout_sec"),
            ("[agent]\ntimeout_sec = inf", "agent.timeout_sec"),
            ("[agent]\ntimeout_sec = true", "agent.timeout_sec"),
            ("[agent]\nuser = -1", "agent.user"),
            ("[agent]\nuser = 1.5", "agent.user"),
            ("[agent]\nallowed_hosts = ['a.org']", "agent"),
            ("[agent]\nnetwork_mode = 'allowlist'\nallowed_hosts = ['https://a.org']", "agent.allowed_hosts"),
            ("[agent]\nnetwork_mode = 'allowlist'\nallowed_hosts = ['a.org:443']", "agent.allowed_hosts"),
            ("[environment]\nmemory_mb = '2G'", "environment.memory_mb"),
            ("[environment]\nmemory = 'much'", "environment"),
            ("[environment]\nworkdir = 'app'", "environment.workdir"),
            ("[environment]\nos = 'plan9'", "environment.os"),
            ("[environment.env]\nA = 1", "environment.env.A"),
            ("[environment]\nmcp_servers = [{name = 'm', transport = 'stdio'}]", "environment.mcp_servers[0]"),
            ("artifacts = ['../secret']", "artifacts[0].source"),
            ("artifacts = [{source = '/a', destination = '/b'}]", "artifacts[0].destination"),
            ("artifacts = [{source = '/a', destination = './manifest.json'}]", "artifacts[0].destination"),
            ("artifacts = [7]", "artifacts[0]"),
            ("[task]\nname = 'alone'", "task.name"),
            ("[verifier]\nenvironment_mode = 'shared'\nenvironment = {}", "verifier"),
            ("steps = []", "steps"),
            ("steps = [{name = 'a/b'}]", "steps[0].name"),
            ("steps = [{name = 'Strasse'}, {name = 'straße'}]", "steps"),
            ("steps = [{name = 'a', min_reward = 'all'}]", "steps[0].min_reward"),
            ("[agent", ""),
        ],
    )
    def test_what_cannot_be_meant_is_refused_by_its_key(self, said: str, key: str):
        with pytest.raises(TaskFileError) as refused:
            parse_task_file(said)
        assert {place for place, _ in refused.value.problems} == {key}
        assert all(reason for _, reason in refused.value.problems)

    @given(st.sampled_from(["agent", "environment", "verifier", "steps", "artifacts", "task", "cpus"]), VALUES)
    def test_whatever_stands_at_a_key_is_read_or_refused(self, key: str, value: Any):
        for settings in ({key: value}, {"environment": {key: value}}, {"steps": [{"name": "a", key: value}]}):
            with suppress(ValidationError):
                unknown_keys(TaskFile.model_validate(settings))


class TestInstructions:
    def test_leading_canaries_are_taken_out(self, write_task: WriteTask):
        task = write_task("t", **{"instruction.md": "<!-- a canary GUID -->\n\n# Canary: x\n\nDo it.\n# canary\n"})
        assert read_task(task).instruction() == "Do it.\n# canary\n"

    def test_of_each_step(self, write_task: WriteTask):
        task = write_task(
            "t",
            "[[steps]]\nname = 'a'",
            **{"instruction.md": None, "steps/a/instruction.md": "First.\n", "steps/a/tests/test.sh": ""},
        )
        assert read_task(task).instruction("a") == "First.\n"

    @given(st.text())
    def test_nothing_but_leading_canaries_is_lost(self, text: str):
        kept = without_canary(text)
        assert text.endswith(kept)
        assert "canary" in text.lower() or kept == text


class TestDirectories:
    def test_a_whole_task_is_read(self, write_task: WriteTask):
        task = read_task(write_task("t", "[task]\nname = 'org/real-name'"))
        assert (task.name, task.warnings, task.has_solution) == ("org/real-name", [], False)

    def test_a_prebuilt_image_needs_no_dockerfile(self, write_task: WriteTask):
        read_task(write_task("t", "[environment]\ndocker_image = 'a:1'", **{"environment/Dockerfile": None}))

    def test_tests_may_lie_in_the_image_of_a_separate_verifier(self, write_task: WriteTask):
        settings = "[verifier]\nenvironment = {docker_image = 'tests:1'}"
        read_task(write_task("t", settings, **{"tests/test.sh": None}))

    def test_links_within_the_task_are_fine(self, write_task: WriteTask):
        task = write_task("t")
        (task / "tests" / "same.sh").symlink_to("test.sh")
        assert read_task(task).name == "t"

    def test_links_that_lead_nowhere_or_out_are_refused(self, write_task: WriteTask):
        task = write_task("t")
        (task / "tests" / "out").symlink_to("/etc/passwd")
        (task / "tests" / "round").symlink_to("round")
        assert reasons(task) == [("tests/out", ""), ("tests/round", "")]

    def test_everything_that_is_wrong_is_said_at_once(self, write_task: WriteTask):
        task = write_task("t", "[environment]\nos = 'windows'", **{"instruction.md": None, "tests/test.sh": None})
        assert reasons(task) == [("task.toml", "environment.os"), ("instruction.md", ""), ("tests/test.sh", "")]


class TestCommand:
    @pytest.mark.parametrize("command", [["tasks", "check"], ["terminal-bench", "--agent", "nop", "--dataset"]])
    def test_ten_broken_tasks_have_ten_reasons(self, write_task: WriteTask, tmp_path: Path, command: list[str]):
        write_task("01-no-settings", None)
        write_task("02-no-toml", "[agent")
        write_task("03-limit", "[agent]\ntimeout_sec = -1")
        write_task("04-windows", "[environment]\nos = 'windows'")
        write_task("05-tpu", "[environment]\ntpu = {type = 'v5', topology = '1x1'}")
        write_task("06-no-image", **{"environment/Dockerfile": None})
        write_task("07-no-instruction", **{"instruction.md": None})
        write_task("08-no-tests", **{"tests/test.sh": None})
        write_task("09-step", "[[steps]]\nname = 'a'")
        (write_task("10-link") / "solution").symlink_to("/root")
        refused = CliRunner().invoke(application, [*command, str(tmp_path / "tasks")])
        assert refused.exit_code == 2
        *lines, last = refused.output.splitlines()
        assert [line.partition(": ")[0] for line in lines] == sorted(TEN_PLACES)
        assert [line.partition(": ")[2].partition(": ")[0] for line in lines] == list(TEN_PLACES.values())
        assert len({line.partition(": ")[2].partition(": ")[2] for line in lines}) == 9, "one is missing twice"
        assert last.startswith("0 of 10 tasks could be run" if command[0] == "tasks" else "no run was begun: ")

    def test_whole_tasks_are_counted_and_oddities_told(self, write_task: WriteTask, tmp_path: Path):
        write_task("good")
        write_task("odd", "[agent]\ntimeout = 5")
        (tmp_path / "tasks" / "scripts").mkdir()
        (tmp_path / "tasks" / ".git").mkdir()
        checked = check(tmp_path / "tasks")
        assert checked.exit_code == 0
        assert checked.stdout == "2 of 2 tasks could be run\n"
        assert "odd: task.toml, agent.timeout: this key is not known" in checked.stderr
        assert "nothing of a task: scripts\n" in checked.stderr

    def test_one_name_stands_for_one_task(self, write_task: WriteTask, tmp_path: Path):
        write_task("a", "[task]\nname = 'org/x'")
        write_task("b", "[task]\nname = 'org/x'")
        assert "b: task.toml, task.name: 'org/x' is also the name of a" in check(tmp_path / "tasks").stdout

    def test_json_has_the_same(self, write_task: WriteTask, tmp_path: Path):
        write_task("bad", "[agent]\ntimeout_sec = -1")
        good = write_task("good")
        found: dict[str, Any] = json.loads(check(tmp_path / "tasks", "--json").stdout)
        assert found["tasks"] == [{"name": "good", "path": str(good), "warnings": []}]
        assert [problem["key"] for problem in found["invalid"][0]["problems"]] == ["agent.timeout_sec"]

    def test_a_path_without_tasks_is_a_usage_error(self, tmp_path: Path):
        for path in (tmp_path, tmp_path / "missing", Path(__file__)):
            checked = check(path)
            assert checked.exit_code == 2
            assert "PATH" in checked.stderr
        with pytest.raises(NoTasksError, match="has no tasks"):
            find_tasks(tmp_path)
