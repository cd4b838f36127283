"""The pictures of a run's trials as artifacts: files stay where the trials write them."""

from __future__ import annotations

import json
import uuid
from pathlib import PurePath
from typing import BinaryIO

from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound

from study.record.artifacts import PREFIX
from study.record.folder import Run


class Pictures:
    """An artifact store of Optuna's that can only be read, over a run folder.

    Args:
        run: its folder.
    """

    def __init__(self, run: Run):
        self.run = run
        self._files = FileSystemArtifactStore(run.path)
        self._names: dict[str, str] = {}  # artifact -> path in the run folder
        self._secret = uuid.uuid4()

    def of(self, number: int) -> dict[str, str]:
        """What Optuna would have in a trial's system attributes, by step.

        Args:
            number: of the trial.
        """
        return dict(self._artifact(path.relative_to(self.run.path)) for path in self.run.pictures(number))

    def _artifact(self, path: PurePath) -> tuple[str, str]:
        name = str(uuid.uuid5(self._secret, str(path)))
        self._names[name] = str(path)
        said = {
            "artifact_id": name,
            "filename": f"step-{path.name}",
            "mimetype": "image/png",
            "encoding": None,
        }
        return f"{PREFIX}{name}", json.dumps(said)

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The file of a picture; Optuna's ArtifactNotFound where there is none."""
        if artifact_id not in self._names:
            raise ArtifactNotFound("not found")
        return self._files.open_reader(self._names[artifact_id])

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Refuses: a trial alone makes its pictures."""
        raise PermissionError("pictures are only shown")

    def remove(self, artifact_id: str) -> None:
        """Refuses, too."""
        raise PermissionError("pictures are only shown")
