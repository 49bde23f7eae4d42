"""The models that a server offers, and the one that is meant."""

import http.client
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from agent.backend import BackendError, BackendUnreachableError
from agent.backend_choice import KEY_VARIABLE, BackendChoiceError
from agent.dialects.asking import Server

_SHOWN_MODELS = 20
_WITHOUT_LIST = (404, 405, 500, 501)
"""What servers without a list of models answer; transformers serve says 500 where it has no folder of models."""


class ServedModel(BaseModel):
    """One entry of a server's list of models."""

    id: str
    owned_by: Any = None


class _ModelList(BaseModel):
    data: list[ServedModel]


def list_models(
    url: str, key: str = "", key_variable: str = KEY_VARIABLE, *, optional: bool = False
) -> list[ServedModel]:
    """The models that a server offers; none from a server without such a list, if `optional`.

    Raises BackendUnreachableError, BackendError for a server that fails, BackendChoiceError for what is no server
    of models.
    """
    return read_models(Server(url, key), key_variable, optional=optional)


def read_models(server: Server, key_variable: str, *, optional: bool) -> list[ServedModel]:
    """The same, of a server that may be asked more."""
    url = server.url
    try:
        reply = server.ask("models")
    except (http.client.HTTPException, ValueError) as error:
        message = f"what answers at {url} is no HTTP server: {error!r}"
        raise BackendChoiceError(message) from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        message = f"the backend at {url} cannot be reached: {reason}\nIs the server running, and is the address right?"
        raise BackendUnreachableError(message) from error
    if not reply.is_good:
        if optional and reply.status in _WITHOUT_LIST:
            return []
        raise _explain_status(server, reply.status, key_variable)
    try:
        return _ModelList.model_validate_json(reply.content).data
    except ValidationError as error:
        message = f"what answers at {url} is no OpenAI-compatible server: its /models is no list of models"
        raise BackendChoiceError(message) from error


def choose_model(url: str, models: Sequence[ServedModel], wanted: str | None) -> str:
    """The name of the model that is meant: the one that is `wanted`, or the only one. Raises BackendChoiceError."""
    if wanted is not None:
        return wanted
    if len(models) == 1:
        return models[0].id
    if not models:
        message = f"the backend at {url} serves no model yet: load one there, or name one with --model"
        raise BackendChoiceError(message)
    names = ", ".join(model.id for model in models[:_SHOWN_MODELS])
    more = f" and {len(models) - _SHOWN_MODELS} more" if len(models) > _SHOWN_MODELS else ""
    message = f"the backend at {url} serves several models ({names}{more}): choose one with --model"
    raise BackendChoiceError(message)


def _explain_status(server: Server, status: int, key_variable: str) -> Exception:
    answers = f"the backend at {server.url} answers {status} to a question for its models"
    if status in (401, 403):
        another, first = f"another key; it gets what {key_variable} holds", f"a key: put it into {key_variable}"
        return BackendChoiceError(f"{answers}: it wants {another if server.key else first}")
    if status in (429, 502, 503, 504):
        return BackendUnreachableError(f"{answers}: it is busy, or still loads its model; try again in a while")
    if status >= 500:
        return BackendError(f"{answers}: its own log says why")
    return BackendChoiceError(
        f"{answers}: is the address right? Most end in /v1. For a server without a list of models, give --model"
    )
