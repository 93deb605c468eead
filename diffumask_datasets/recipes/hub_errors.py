"""What the Hub's client raises, in one place and in one line; the token is never part of it."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import errors as hub
from requests import RequestException

from diffumask_datasets.errors import DiffuMaskError, HubError

__all__ = ["BROKEN", "CONNECTION_ERRORS", "cause_of", "readable_errors"]

# The client moved from requests to httpx to httpx2, and shows their errors.
CONNECTION_ERRORS: tuple[type[Exception], ...] = (
    *(importlib.import_module(name).TransportError for name in ("httpx2", "httpx") if importlib.util.find_spec(name)),
    RequestException,
    ConnectionError,
    TimeoutError,
)
"""A connection that was cut, refused or too slow; trying again may help."""


_SECRET = re.compile(r"(Bearer |hf_)[^\s'\"]+")
"""A token in the text of an error, also one that an escape made unlike itself."""

# The client wraps what broke an upload, after it has tried a few times, into a RuntimeError.
BROKEN: tuple[type[Exception], ...] = (*CONNECTION_ERRORS, RuntimeError)
"""Those among which :func:`cause_of` finds a broken connection."""


def cause_of(error: Exception) -> Exception | None:
    """The broken connection behind an error of the client; None where there is another reason."""
    cause = error.__cause__ if isinstance(error, RuntimeError) else error
    return cause if isinstance(cause, CONNECTION_ERRORS) else None


@contextmanager
def readable_errors(repo_id: str, token: str | None = None, *, again: str = "try again") -> Iterator[None]:
    """Within the block every error of the Hub's client becomes a HubError of one line without the token; ours stay.

    Args:
        repo_id: The repository, for messages.
        token: The token, which no message shows.
        again: The remedy of a broken connection.

    Returns:
        A context.
    """
    try:
        yield
    except DiffuMaskError:
        raise
    except hub.LocalEntryNotFoundError:
        raise HubError(f"{repo_id} is neither here nor in the cache, and the Hub cannot be reached: {again}") from None
    except hub.RepositoryNotFoundError:
        remedy = "check the name and the token, or log in with: hf auth login"
        raise HubError(f"the Hub has no {repo_id}, or does not show it to you: {remedy}") from None
    except hub.HfHubHTTPError as error:
        raise HubError(_refusal(repo_id, error, token)) from None
    except hub.LocalTokenNotFoundError:
        raise HubError("no token: log in with: hf auth login, or set HF_TOKEN") from None
    except BROKEN as error:
        cause = cause_of(error)
        if cause is None:
            raise
        raise HubError(f"the connection to the Hub broke: {_line(cause, token)}; {again}") from None
    except ValueError as error:
        # What the client says of a card that the Hub does not accept.
        raise HubError(f"the Hub refused {repo_id}: {_without(token, ' '.join(str(error).split()))}") from None


def _refusal(repo_id: str, error: hub.HfHubHTTPError, token: str | None) -> str:
    status = error.response.status_code if error.response is not None else None
    if status == 401:
        return f"the Hub does not accept the token for {repo_id}: log in anew with: hf auth login"
    if status == 403:
        said = f" (the Hub says: {_without(token, error.server_message)})" if error.server_message else ""
        return f"no right to write {repo_id}{said}: push to a name of your own, or take a token with the right to write"
    return f"the Hub refused {repo_id} ({status}): {_line(error, token)}"


def _line(error: Exception, token: str | None) -> str:
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return _without(token, line)


def _without(token: str | None, text: str) -> str:
    return _SECRET.sub(r"\1***", text.replace(token, "***") if token else text)
