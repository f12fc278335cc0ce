"""Error responses: problem documents (RFC 9457) with codes that do not change.

What is wrong with a request is told whole; of a fault of the service only its number.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from crosslens import errors

PREFIX = "urn:crosslens:problem:"
MEDIA_TYPE = "application/problem+json"


@dataclass
class Problem(Exception):  # noqa: N818 (RFC 9457 calls it so)
    """An answer that is no success.

    code: stable; title: of the kind; detail: of this one; remedy: what to do about it.
    more: further members of the document. headers: of the answer.
    """

    status: int
    code: str
    title: str
    detail: str = ""
    remedy: str = ""
    more: dict[str, object] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def document(self, request_id: str) -> dict[str, object]:
        """As it is sent."""
        known = {"detail": self.detail, "remedy": self.remedy}
        return {
            "type": PREFIX + self.code,
            "title": self.title,
            "status": self.status,
            "code": self.code,
            **{name: value for name, value in known.items() if value},
            **self.more,
            "request_id": request_id,
        }


class Overloaded(Exception):  # noqa: N818 (a state, and no mistake of anybody)
    """A queue is full. waiting: rows in it."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} inputs are waiting already")
        self.waiting = waiting


# The first class that an error is an instance of counts.
_KNOWN: tuple[tuple[type[Exception], int, str, str], ...] = (
    (errors.QuerySyntaxError, 400, "invalid_query", "The query cannot be read"),
    (errors.QueryError, 400, "unanswerable_query", "The search cannot be answered as asked"),
    (errors.TextError, 422, "text_unusable", "A text cannot be embedded"),
    (errors.ImageTooLargeError, 413, "image_too_large", "A picture is larger than the limits allow"),
    (errors.ImageNotFoundError, 404, "image_not_found", "There is no such picture"),
    (errors.ImageError, 422, "image_unreadable", "A picture cannot be read"),
    (errors.MissingExtraError, 501, "not_installed", "The service lacks an optional package"),
    (errors.UnknownModelError, 404, "model_not_found", "There is no such model"),
    (errors.EncodingError, 422, "no_vector", "The model gave no usable vector"),
    (errors.LibraryNotFoundError, 404, "library_not_found", "There is no such library"),
    (errors.LibraryBusyError, 409, "library_busy", "Another process is writing to the library"),
    (errors.LibraryReadOnlyError, 409, "library_read_only", "The library cannot be written"),
    (errors.LibraryFullError, 507, "library_full", "No space is left where the library lies"),
    (errors.LibraryModelError, 409, "other_model", "The vectors are of another model"),
    (errors.LibraryError, 500, "library_unusable", "The library cannot be used"),
    (errors.ModelError, 500, "model_unusable", "The model cannot be used"),
    (errors.InputError, 422, "invalid_request", "The request cannot be carried out as it is"),
)
RETRY_SECONDS = 1


def problem_of(error: Exception) -> Problem:
    """What an error means to a client. One that nobody raised on purpose tells nothing of itself."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Overloaded):
        headers = {"Retry-After": str(RETRY_SECONDS)}
        return Problem(429, "overloaded", "The service is busy", f"{error}", "Try again", headers=headers)
    for kind, status, code, title in _KNOWN:
        if isinstance(error, kind) and isinstance(error, errors.CrosslensError):
            more: dict[str, object] = {}
            if isinstance(error, errors.QuerySyntaxError):
                more["column"] = error.column
            # Where the service itself is at fault, paths of its machine may be in the message.
            told = status < 500 and not isinstance(error, errors.LibraryError)
            detail, remedy = (error.problem, error.remedy) if told or status == 501 else ("", "")
            return Problem(status, code, title, detail, remedy, more)
    return Problem(500, "internal", "Something went wrong in the service")


def stopping() -> Problem:
    """The service takes nothing new."""
    return Problem(503, "not_ready", "The service is stopping", headers={"Retry-After": "5"})


def not_found(what: str) -> Problem:
    """There is no such thing."""
    return Problem(404, "not_found", "Not found", f"there is no {what}")


def invalid(detail: str, remedy: str = "") -> Problem:
    """The request is not as it must be."""
    return Problem(422, "invalid_request", "The request cannot be carried out as it is", detail, remedy)


def too_large(detail: str, remedy: str = "") -> Problem:
    """More than a limit allows."""
    return Problem(413, "too_large", "More than the limits allow", detail, remedy)
