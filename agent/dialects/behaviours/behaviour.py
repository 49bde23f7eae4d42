"""The hooks of a named behaviour. Each is a module of its own here; a hook that it leaves out changes nothing."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.turn import AssistantTurn


class Behaviour:
    """What a server family does that no cell of the table can say.

    `extras` is a turn's own dictionary, empty when its response begins: what `collect` puts in comes back to `send`
    as `turn.extras`, and stands in the trajectory, so it is plain JSON. Each behaviour has a key of its own there.
    A behaviour keeps nothing itself: it may be made anew for every call.
    """

    name: str = ""

    def collect(self, part: Mapping[str, Any], extras: dict[str, Any]) -> None:
        """Take what is needed from a delta of a stream, or from a whole message, as parsed JSON.

        Called for every delta in the order in which they come, before anything is known to fit the protocol: what
        has another form than expected is passed over.
        """

    def usage(self, choice: Mapping[str, Any]) -> object:
        """A usage object that stands within a choice, as parsed JSON; None for none."""

    def send(self, message: dict[str, Any], turn: "AssistantTurn", differences: list[str]) -> None:
        """Change the message that goes back for `turn`, and name each difference from what was received.

        The calls of `message` stand in the order of `turn.tool_calls`. Putting back what came is no difference.
        """
