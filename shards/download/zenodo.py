"""A record of Zenodo as its API gives it: `GET /api/records/<id>`, https://developers.zenodo.org/#records.

Both forms of the answer are read: the one until October 2023 and the one since (InvenioRDM).
"""

from __future__ import annotations

import hashlib
import re
from io import FileIO
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import AliasChoices, BaseModel, Field, ValidationError, field_validator

from asd.errors import UserError
from shards.download.client import get_json, is_address

DESCRIBES_A_FILE = re.compile(r"/api/records/[^/]+/files/[^/]+")  # its bytes are at …/content


class _Links(BaseModel):
    content: str | None = None
    download: str | None = None
    itself: str | None = Field(default=None, validation_alias="self")

    @property
    def best(self) -> str:
        return self.content or self.download or self.itself or ""


class RemoteFile(BaseModel):
    """One file of a record. `checksum` is `<algorithm>:<hex digits>`; without the algorithm it is an md5."""

    key: str = Field(validation_alias=AliasChoices("key", "filename"))
    size: int = Field(ge=0, validation_alias=AliasChoices("size", "filesize"))  # bytes
    checksum: str
    links: _Links

    @field_validator("key")
    @classmethod
    def _plain_name(cls, key: str) -> str:
        # It becomes the name of a local file.
        if not key or key.startswith(".") or "\\" in key or "\0" in key or Path(key).name != key:
            raise ValueError(f"{key!r} is not a plain file name")
        return key

    @field_validator("checksum")
    @classmethod
    def _known_algorithm(cls, checksum: str) -> str:
        algorithm, _, digest = checksum.lower().rpartition(":")
        algorithm = algorithm or "md5"
        if algorithm not in hashlib.algorithms_guaranteed or not digest:
            raise ValueError(f"checksum {checksum!r} is of no known algorithm")
        return f"{algorithm}:{digest}"

    @field_validator("links")
    @classmethod
    def _usable(cls, links: _Links) -> _Links:
        if not is_address(links.best):
            raise ValueError(f"{links.best!r} is not an address")
        return links

    @property
    def is_zip(self) -> bool:
        return self.key.lower().endswith(".zip")

    @property
    def url(self) -> str:
        """Where the bytes are; in the answers of late 2023 `self` is the address of the description alone."""
        link = self.links.best
        return f"{link}/content" if DESCRIBES_A_FILE.fullmatch(urlsplit(link).path) else link

    def digest_of(self, file: FileIO) -> str:
        """`<algorithm>:<hex digits>` of an open local file."""
        file.seek(0)
        algorithm = self.checksum.partition(":")[0]
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
        return f"{algorithm}:{digest.hexdigest()}"


class _Licence(BaseModel):
    id: str


class _Metadata(BaseModel):
    title: str
    licence: _Licence | str | None = Field(default=None, validation_alias="license")


class Record(BaseModel):
    """What is used of a record."""

    id: int
    doi: str | None = None
    metadata: _Metadata
    files: list[RemoteFile] = []

    def notice(self) -> str:
        """Title, licence and what to cite."""
        licence = self.metadata.licence
        name = licence.id if isinstance(licence, _Licence) else licence
        return f"{self.metadata.title}; licence: {name or 'see the record'}; cite {self.doi or f'record {self.id}'}"


def get_record(base: str, number: int) -> Record:
    """The record at `<base>/api/records/<number>`. Raises UserError where there is none, or none with open files."""
    url = f"{base}/api/records/{number}"
    try:
        record = Record.model_validate(get_json(url))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{url} does not answer as Zenodo does: {where}: {first['msg']}; check --url") from None
    if not record.files:
        raise UserError(f"{url} lists no files: check on its page whether access is open")
    return record
