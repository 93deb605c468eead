"""Output that is either the old one or whole: made beside its place and moved there in one step."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffumask_datasets.errors import DiffuMaskError, ExportError

__all__ = ["whole_folder"]


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """An empty draft folder that takes the place of ``output`` once the block ends well, and is gone where it does not.

    Raises:
        ExportError: the draft cannot be written or moved.
    """
    draft = output.with_name(f".{output.name}.unfinished")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        yield draft
        if output.exists():
            shutil.rmtree(output)
        draft.rename(output)
    except DiffuMaskError:
        raise  # some are OSErrors too: what the rows come from could not be read
    except OSError as error:
        raise ExportError(f"cannot write {output}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
