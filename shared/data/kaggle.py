"""Downloads from Kaggle with kagglehub, and submissions to it with kagglesdk (a dependency of kagglehub)."""

import contextlib
import csv
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import requests

from shared.data.archives import DAMAGED, TIMEOUT, reason
from shared.data.sources import COMPETITION, KAGGLE, kaggle_page
from shared.errors import UserError

TOKEN = f"create an API token on {KAGGLE}/settings and set KAGGLE_API_TOKEN to it, or put kaggle.json into ~/.kaggle"


def fetch_from_kaggle(handle: str, folder: Path, *, by_hand: str) -> Path:
    """Download and unpack a competition's data ("slug") or a data set ("owner/name") in ``folder``.

    Kagglehub resumes a broken download in ``folder`` and verifies the MD5 checksum that Kaggle sends.

    Returns:
        The unpacked folder, inside ``folder``.

    Raises:
        UserError: no network, no credentials, rules not accepted, or no such data.
    """
    # kagglehub resumes only in its cache, not with output_dir; mounted copies on Kaggle and Colab cannot be moved.
    os.environ |= {"KAGGLEHUB_CACHE": str(folder), "DISABLE_KAGGLE_CACHE": "1", "DISABLE_COLAB_CACHE": "1"}
    page = kaggle_page(handle)
    with _explained(page, by_hand=by_hand):
        import kagglehub  # imported here because it takes half a second
        from kagglehub.exceptions import DataCorruptionError

        get = kagglehub.dataset_download if "/" in handle else kagglehub.competition_download
        try:
            return Path(get(handle))
        except (*DAMAGED, DataCorruptionError, ValueError) as error:
            if isinstance(error, ValueError) and "archive type" not in str(error):
                raise
            shutil.rmtree(folder)  # otherwise kagglehub would unpack the same file again
            raise UserError(f"{page}: the archive is damaged ({type(error).__name__}); repeat the command") from error


@contextlib.contextmanager
def _explained(page: str, *, by_hand: str) -> Iterator[None]:
    """Convert the errors of Kaggle's clients to a UserError with the remedy."""
    from kagglehub.exceptions import BackendError, UnauthenticatedError

    try:
        yield
    except UnauthenticatedError:
        raise UserError(f"no Kaggle credentials: {TOKEN}, then repeat the command; or {by_hand}") from None
    except requests.HTTPError as error:
        refusals = {
            401: f"Kaggle rejected the credentials: {TOKEN}",
            403: "Kaggle refused access: log in there, join and accept the rules, then repeat the command",
            404: "Kaggle has no such page; check the name",
        }
        why = refusals.get(error.response.status_code, f"{reason(error)} ({_first_line(error)})")
        raise UserError(f"{page}: {why}; or {by_hand}") from error
    except requests.RequestException as error:
        raise UserError(f"{page}: {reason(error)}. Repeat the command, or {by_hand}") from error
    except (BackendError, ValueError) as error:  # ValueError: a malformed name or credentials file
        raise UserError(f"{page}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def submit(path: Path, *, competition: str = COMPETITION, message: str = "Frequency Quest") -> None:
    """Send the submission at ``path`` to a competition; print Kaggle's answer and the address of the score.

    It sends the same three requests as Kaggle's command line (kaggle 2.2.5, ``KaggleApi.competition_submit``), which
    is not used because it depends on notebook tools.

    Raises:
        UserError: invalid submission, no network, no credentials, or rules not accepted.
    """
    rows = check_submission(path)
    page = kaggle_page(competition)
    with _explained(page, by_hand=f"upload {path} on {page}/submit"):
        from kagglehub.clients import build_kaggle_client
        from kagglehub.config import get_kaggle_credentials
        from kagglehub.exceptions import UnauthenticatedError
        from kagglesdk.competitions.types import competition_api_service as types

        if not get_kaggle_credentials():
            raise UnauthenticatedError
        with build_kaggle_client() as client:
            api = client.competitions.competition_api_client
            start = types.ApiStartSubmissionUploadRequest()
            start.competition_name, start.file_name = competition, path.name
            start.content_length, start.last_modified_epoch_seconds = path.stat().st_size, int(path.stat().st_mtime)
            upload = api.start_submission_upload(start)
            requests.put(upload.create_url, data=path.read_bytes(), timeout=TIMEOUT).raise_for_status()
            request = types.ApiCreateSubmissionRequest()
            request.competition_name, request.blob_file_tokens = competition, upload.token
            request.submission_description = message
            answer = api.create_submission(request)
    print(f"{path}: {rows} predictions sent to {competition}. Kaggle: {answer.message}")
    print(f"the score will appear on {page}/submissions")


def check_submission(path: Path) -> int:
    """Validate a submission CSV (a header, then one line with ID and class per clip) and count its predictions.

    Raises:
        UserError: names the file, the line and the problem.
    """
    if not path.is_file():
        raise UserError(f"--submission {path}: no such file; a classifier's run folder has a submission.csv")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), start=1) if row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"--submission {path}: is not a CSV file ({error})") from error
    seen: set[str] = set()
    for number, row in rows:
        if len(row) != 2:
            raise UserError(f"--submission {path}: line {number} has {len(row)} column(s), expected two: ID and class")
        if not all(cell.strip() for cell in row):
            raise UserError(f"--submission {path}: line {number} has an empty cell; complete it")
        if row[0] in seen:
            raise UserError(f"--submission {path}: line {number} repeats the ID {row[0]}; remove one")
        seen.add(row[0])
    if len(rows) < 2:
        raise UserError(f"--submission {path}: holds no predictions; predict again")
    return len(rows) - 1
