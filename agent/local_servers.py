"""The model servers that people run on their own machine, where they listen unless told otherwise."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from agent.backend import BackendError, BackendUnreachableError
from agent.backend_choice import BackendChoiceError
from agent.dialects.registry import local_addresses
from agent.served_models import list_models


def find_local_server(servers: Mapping[str, str] | None = None) -> tuple[str, str]:
    """The name and the base URL of the first server that answers, in the order of `local_addresses()`.

    The name is the port's: two families may share one. Raises BackendUnreachableError with what to do where there
    is none.
    """
    servers = local_addresses() if servers is None else servers
    names = dict[str, str]()
    for name, url in servers.items():
        names.setdefault(url, name)
    with ThreadPoolExecutor(len(names) or 1) as pool:
        for (url, name), found in zip(names.items(), pool.map(_answers, names), strict=True):
            if found:
                return name, url
    looked = ", ".join(f"{name} ({urlsplit(url).netloc})" for url, name in names.items())
    message = (
        f"no model server answers on this machine; looked for {looked}.\n"
        "Start one, or say where yours is: --backend http://HOST:PORT/v1"
    )
    raise BackendUnreachableError(message)


def _answers(url: str) -> bool:
    try:
        list_models(url)
    except (BackendError, BackendChoiceError):
        return False
    return True
